#include "trace/oracle_scribe.h"

#include <fmt/format.h>

#include <algorithm>

namespace pervma::trace {

std::string oracle_changes(const std::vector<OracleVma>& before,
                           const std::vector<OracleVma>& after, const OracleRecording& names) {
  std::string text;
  for (const OracleVma& v : before) {
    if (std::ranges::find(after, v) == after.end())
      text += fmt::format("- {}-{}\n", v.start, v.end);
  }
  for (const OracleVma& v : after) {
    if (std::ranges::find(before, v) == before.end()) text += "+ " + to_string(v, names) + "\n";
  }
  return text;
}

OracleAnswer OracleScribe::operation(const OracleOperation& op) {
  constexpr Range kWindow{kOracleWindow, kOracleWindow + PageCount{kOracleWindowPages}};
  static const OracleRecording names = [] {
    OracleRecording r;
    r.files.assign(oracle_files().begin(), oracle_files().end());
    return r;
  }();
  const OracleAnswer answer = replica_.execute(op);
  lines_ +=
      fmt::format("O {} {} -> {}", count_++, text_of(op).view(), text_of(op.call, answer).view());
  if (op.call == OracleCall::mincore && answer.error == 0) {
    lines_ += ' ';
    for (const uint8_t bit : replica_.bits()) lines_ += (bit & 1) != 0 ? '1' : '0';
    if (replica_.bits().empty()) lines_ += '-';
  }
  lines_ += '\n';
  before_.swap(after_);
  replica_.vmas_in(kWindow, after_);
  lines_ += oracle_changes(before_, after_, names);
  return answer;
}

}  // namespace pervma::trace
