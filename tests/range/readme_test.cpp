// The README's example of RangeMap compiles, runs, and is the one in the README.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "pervma/pervma.h"

namespace {

int used = 0;
int region = 7;
void use(void* value) { used += *static_cast<int*>(value); }

void example() {
  // [README]
  auto map = pervma::RangeMap<void*>::create().value();
  map.write()->insert({{0x1000}, {0x3000}}, &region).value();
  if (auto guard = map.find(pervma::Address{0x1800})) {  // pinned: neither removed nor changed
    use(guard->value());
  }
  auto copy = map.find_fast(pervma::Address{0x1800});    // or a copy, without any shared write
  map.write()->retire(pervma::Address{0x1800}).value();  // unlinked now, freed by its last holder
  // [/README]
  EXPECT_EQ(copy->value, &region);
  EXPECT_FALSE(map.find(pervma::Address{0x1800}));
}

// The text between two marks, without white space.
std::string between(const std::string& path, const std::string& from, const std::string& to) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t begin = text.find(from);
  if (begin == std::string::npos) return "";
  const size_t end = text.find(to, begin + from.size());
  std::string squeezed;
  for (const char c : text.substr(begin + from.size(), end - begin - from.size())) {
    if (c != ' ' && c != '\n') squeezed += c;
  }
  return squeezed;
}

TEST(ReadmeTest, the_example_runs_and_is_the_one_in_the_readme) {
  example();
  EXPECT_EQ(used, 7);
  const std::string here = PERVMA_TEST_DATA;
  // Cut in two, so that this line is not itself the mark.
  const std::string mine = between(here + "/readme_test.cpp",
                                   "// ["
                                   "README]",
                                   "// ["
                                   "/README]");
  const std::string theirs =
      between(here + "/../../README.md", "docs/reference/range-map.md).\n\n```cpp\n", "```");
  EXPECT_FALSE(mine.empty());
  EXPECT_EQ(mine, theirs);
}

}  // namespace
