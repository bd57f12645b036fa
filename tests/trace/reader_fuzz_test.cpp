// Recordings cut and spoilt in every way that fits a second: a reader answers with a recording or
// with an error of one line that names the file, and never with anything else.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "temp_file.h"
#include "trace/input.h"
#include "trace/recording.h"

namespace pervma::trace {
namespace {

// What a compressed recording of the tests holds, as text.
std::string text_of(const std::string& name) {
  auto source = LineSource::open(std::string(PERVMA_TEST_DATA) + "/data/" + name);
  std::string out;
  while (source) {
    auto line = source->next();
    if (!line || !*line) break;
    out += std::string((*line)->text) + "\n";
  }
  EXPECT_GT(out.size(), 1000u);
  return out;
}

void check_links(const Recording& r) {
  for (EventIndex i = 0; i < r.events.size(); ++i) {
    const Event& e = r.events[i];
    ASSERT_LT(e.thread, r.threads.size());
    ASSERT_TRUE(e.call == kNoEvent || r.events.at(e.call).as<SyscallEnter>() != nullptr);
    if (const auto* enter = e.as<SyscallEnter>(); enter && enter->exit != kNoEvent) {
      ASSERT_GT(enter->exit, i);
      ASSERT_EQ(r.events.at(enter->exit).as<SyscallExit>()->enter, i);
    }
    if (const auto* fork = e.as<Fork>()) {
      ASSERT_LT(fork->child, r.threads.size());
    }
  }
}

// Reads it, and tells whether it was taken.
bool read_and_check(std::string_view content) {
  const TempFile file(content);
  const auto r = read_recording(file.path());
  if (r) {
    check_links(*r);
    return true;
  }
  const std::string all = r.error().to_string();
  EXPECT_TRUE(all.starts_with(file.path() + ":")) << all;
  EXPECT_EQ(all.find('\n'), std::string::npos) << all;
  EXPECT_LT(all.size(), file.path().size() + 250) << all;
  return false;
}

class ReaderFuzz : public ::testing::TestWithParam<std::string> {};

TEST_P(ReaderFuzz, a_text_cut_at_any_byte_is_read_up_to_there) {
  const std::string text = text_of(GetParam());
  size_t step = 1;
  for (size_t keep = 1; keep < text.size(); keep += step) {
    const bool taken = read_and_check(std::string_view(text).substr(0, keep));
    // Before the first event there is nothing to read.
    EXPECT_TRUE(taken || keep < 1000) << keep;
    step = keep < 2000 ? 17 : 211;
  }
}

TEST_P(ReaderFuzz, a_compressed_file_cut_at_any_byte_is_an_error) {
  const std::string whole = slurp(std::string(PERVMA_TEST_DATA) + "/data/" + GetParam());
  for (size_t keep = 0; keep < whole.size(); keep += 7) {
    EXPECT_FALSE(read_and_check(std::string_view(whole).substr(0, keep))) << keep;
  }
}

TEST_P(ReaderFuzz, spoilt_lines_are_refused_or_read_but_never_break_the_reader) {
  const std::string text = text_of(GetParam());
  const std::string_view spices = " \n\0:/()[]@=,0x-9fz\"'<>|#\xff";
  std::mt19937 random(20'240'613);
  const auto pick = [&](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  for (int round = 0; round < 400; ++round) {
    std::string bad = text.substr(0, 4000 + pick(text.size() - 4000));
    for (size_t changes = 1 + pick(4); changes > 0; --changes) {
      const size_t at = pick(bad.size());
      switch (pick(4)) {
        case 0: bad[at] = spices[pick(spices.size())]; break;
        case 1: bad.erase(at, 1 + pick(30)); break;
        case 2: bad.insert(at, 1 + pick(3), spices[pick(spices.size())]); break;
        default: bad.insert(at, bad.substr(pick(bad.size()), 1 + pick(200))); break;
      }
    }
    read_and_check(bad);
  }
}

TEST_P(ReaderFuzz, lines_left_out_doubled_and_swapped_never_break_the_reader) {
  const std::string text = text_of(GetParam());
  std::vector<std::string> lines;
  for (size_t from = 0; from < text.size();) {
    const size_t end = text.find('\n', from);
    lines.push_back(text.substr(from, end - from + 1));
    from = end + 1;
  }
  std::mt19937 random(7);
  const auto pick = [&](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> bad = lines;
    for (size_t changes = 1 + pick(3); changes > 0; --changes) {
      const auto at = bad.begin() + static_cast<std::ptrdiff_t>(pick(bad.size()));
      switch (pick(3)) {
        case 0: bad.erase(at); break;
        case 1: std::swap(*at, bad[pick(bad.size())]); break;
        default: bad.insert(at, lines[pick(lines.size())]); break;
      }
    }
    std::string joined;
    for (const std::string& l : bad) joined += l;
    read_and_check(joined);
  }
}

INSTANTIATE_TEST_SUITE_P(Recordings, ReaderFuzz,
                         ::testing::Values("every_call.txt.xz", "every_call.strace.zst",
                                           "every_call_stderr.strace.gz"),
                         [](const auto& p) {
                           return p.param.substr(p.param.find_last_of('.') + 1);
                         });

}  // namespace
}  // namespace pervma::trace
