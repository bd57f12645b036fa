// scanner.h: takes a line apart from left to right. Each take_*() either takes what it names and
// moves on, or says no and leaves the line as it was.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pervma::trace {

class Scanner {
 public:
  explicit constexpr Scanner(std::string_view text) noexcept : rest_(text) {}

  constexpr std::string_view rest() const noexcept { return rest_; }
  constexpr bool done() const noexcept { return rest_.empty(); }
  constexpr void skip_spaces() noexcept {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
  }

  constexpr bool take(std::string_view literal) noexcept {
    if (!rest_.starts_with(literal)) return false;
    rest_.remove_prefix(literal.size());
    return true;
  }

  // Everything before `stop`, which is taken too.
  constexpr std::optional<std::string_view> take_until(std::string_view stop) noexcept {
    const size_t at = rest_.find(stop);
    if (at == rest_.npos) return std::nullopt;
    const std::string_view taken = rest_.substr(0, at);
    rest_.remove_prefix(at + stop.size());
    return taken;
  }

  // Digits of `base` only: no sign, no prefix, nothing that does not fit.
  template <class T = uint64_t>
  std::optional<T> take_number(int base = 10) noexcept {
    if (rest_.empty() || rest_.front() == '-') return std::nullopt;
    T value{};
    const auto [end, problem] =
        std::from_chars(rest_.data(), rest_.data() + rest_.size(), value, base);
    if (problem != std::errc{}) return std::nullopt;
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return value;
  }

  // A hexadecimal number with its 0x.
  std::optional<uint64_t> take_hex() noexcept {
    const std::string_view before = rest_;
    if (take("0x")) {
      if (const auto value = take_number(16)) return value;
    }
    rest_ = before;
    return std::nullopt;
  }

  // A process or thread number; perf prints -1 for none.
  std::optional<int32_t> take_pid() noexcept {
    const std::string_view before = rest_;
    const bool negative = take("-");
    if (const auto value = take_number<int32_t>()) return negative ? -*value : *value;
    rest_ = before;
    return std::nullopt;
  }

  // "SECONDS.FRACTION" as nanoseconds, exactly; at most nine digits of fraction.
  std::optional<uint64_t> take_time() noexcept {
    constexpr uint64_t kMostSeconds = UINT64_MAX / 1'000'000'000 - 1;
    const std::string_view before = rest_;
    const auto seconds = take_number();
    if (seconds && *seconds <= kMostSeconds && take(".")) {
      const size_t length = rest_.size();
      const auto fraction = take_number();
      const size_t digits = length - rest_.size();
      if (fraction && digits <= 9) {
        uint64_t ns = *fraction;
        for (size_t i = digits; i < 9; ++i) ns *= 10;
        return *seconds * 1'000'000'000 + ns;
      }
    }
    rest_ = before;
    return std::nullopt;
  }

 private:
  std::string_view rest_;
};

}  // namespace pervma::trace
