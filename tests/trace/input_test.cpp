#include "trace/input.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "temp_file.h"

namespace pervma::trace {
namespace {

struct Lines {
  std::vector<std::string> texts;
  LineEnd last_end = LineEnd::newline;
  std::string error;  // Empty: read to the end.
};

Lines lines_of(const std::string& path) {
  Lines out;
  auto source = LineSource::open(path);
  if (!source) {
    out.error = source.error().to_string();
    return out;
  }
  for (;;) {
    auto line = source->next();
    if (!line) {
      out.error = line.error().to_string();
      return out;
    }
    if (!*line) return out;
    out.texts.emplace_back((*line)->text);
    out.last_end = (*line)->end;
    EXPECT_EQ((*line)->number, out.texts.size());
  }
}

std::string many_lines(int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += "line " + std::to_string(i * 7919) + " of many\n";
  return out;
}

using Compress = std::function<std::string(std::string_view)>;

struct Format {
  std::string name;
  Compress compress;
};

std::string plain(std::string_view text) { return std::string(text); }

class EveryFormat : public ::testing::TestWithParam<Format> {};

TEST_P(EveryFormat, gives_the_lines_that_were_put_in) {
  const std::string text = many_lines(50'000);
  // The ending says nothing: what it is must be told by the content.
  const TempFile file(GetParam().compress(text), ".txt");
  const Lines lines = lines_of(file.path());
  EXPECT_EQ(lines.error, "");
  ASSERT_EQ(lines.texts.size(), 50'000u);
  EXPECT_EQ(lines.texts.front(), "line 0 of many");
  EXPECT_EQ(lines.texts.back(), "line 395942081 of many");
}

TEST_P(EveryFormat, streams_in_a_row_are_one_file) {
  const auto& compress = GetParam().compress;
  const TempFile file(compress("a\nb") + compress("c\nd\n") + compress("") + compress("e\n"));
  const Lines lines = lines_of(file.path());
  EXPECT_EQ(lines.error, "");
  EXPECT_EQ(lines.texts, (std::vector<std::string>{"a", "bc", "d", "e"}));
}

TEST_P(EveryFormat, an_empty_text_has_no_lines) {
  const TempFile file(GetParam().compress(""));
  const Lines lines = lines_of(file.path());
  EXPECT_EQ(lines.error, "");
  EXPECT_TRUE(lines.texts.empty());
}

INSTANTIATE_TEST_SUITE_P(Input, EveryFormat,
                         ::testing::Values(Format{"plain", plain}, Format{"xz", xz},
                                           Format{"zstd", zstd}, Format{"gzip", gzip}),
                         [](const auto& p) { return p.param.name; });

class Compressed : public EveryFormat {};

TEST_P(Compressed, a_cut_at_any_byte_is_an_error_with_file_and_line) {
  const std::string whole = GetParam().compress(many_lines(300));
  // Below the length of its magic nothing says that it is compressed.
  for (size_t keep = 6; keep < whole.size(); keep += keep < 64 ? 1 : 13) {
    const TempFile file(std::string_view(whole).substr(0, keep));
    const Lines lines = lines_of(file.path());
    const std::string where = file.path() + ":" + std::to_string(lines.texts.size() + 1) + ": ";
    EXPECT_TRUE(lines.error.starts_with(where + GetParam().name)) << lines.error;
    EXPECT_NE(lines.error.find("truncated"), std::string::npos) << keep << lines.error;
    EXPECT_EQ(lines.error.find('\n'), std::string::npos);
  }
}

TEST_P(Compressed, a_changed_byte_never_goes_unnoticed_as_other_lines) {
  const std::string text = many_lines(300);
  const std::string whole = GetParam().compress(text);
  for (size_t at = 0; at < whole.size(); at += 5) {
    std::string bad = whole;
    bad[at] = static_cast<char>(bad[at] ^ 0x24);
    const TempFile file(bad);
    const Lines lines = lines_of(file.path());
    if (!lines.error.empty() || GetParam().name == "zstd") continue;  // It has no checksum here.
    if (at < 10) continue;  // The magic itself, or a field of gzip that means nothing.
    std::string back;
    for (const std::string& l : lines.texts) back += l + "\n";
    EXPECT_EQ(back, text) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Input, Compressed,
                         ::testing::Values(Format{"xz", xz}, Format{"zstd", zstd},
                                           Format{"gzip", gzip}),
                         [](const auto& p) { return p.param.name; });

TEST(LineSource, says_when_the_last_line_has_no_newline) {
  const TempFile whole("a\nb\n");
  EXPECT_EQ(lines_of(whole.path()).last_end, LineEnd::newline);
  const TempFile cut("a\nb");
  const Lines lines = lines_of(cut.path());
  EXPECT_EQ(lines.texts, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(lines.last_end, LineEnd::end_of_file);
}

TEST(LineSource, keeps_empty_lines) {
  const TempFile file("\n\na\n\n");
  EXPECT_EQ(lines_of(file.path()).texts, (std::vector<std::string>{"", "", "a", ""}));
}

TEST(LineSource, reads_a_line_longer_than_its_buffer_but_no_endless_one) {
  const std::string half_mib(512 << 10, 'x');
  const TempFile fits("a\n" + half_mib + "\nb\n");
  const Lines lines = lines_of(fits.path());
  EXPECT_EQ(lines.error, "");
  ASSERT_EQ(lines.texts.size(), 3u);
  EXPECT_EQ(lines.texts[1], half_mib);

  const TempFile endless("a\n" + std::string(5 << 20, 'x'));
  EXPECT_EQ(lines_of(endless.path()).error,
            endless.path() + ":2: line longer than 1 MiB: not the text of a recording");
}

TEST(LineSource, names_the_file_that_cannot_be_opened) {
  EXPECT_EQ(lines_of("/nowhere/at/all").error,
            "/nowhere/at/all: cannot open: No such file or directory");
  EXPECT_EQ(lines_of("/").error, "/: cannot read: Is a directory");
}

}  // namespace
}  // namespace pervma::trace
