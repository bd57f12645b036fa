// Kernels that are not 6.18: the table in the code and the one in the document are the same.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "trace/linux_versions.h"
#include "trace/oracle_words.h"

namespace pervma::trace {
namespace {

TEST(LinuxVersions, the_document_has_the_rows_of_the_table_in_its_order) {
  std::ifstream file(PERVMA_TEST_DATA "/../../docs/linux-versions.md");
  ASSERT_TRUE(file);
  std::ostringstream rows;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| ") && !line.starts_with("| since")) rows << line << '\n';
  }
  std::ostringstream expected;
  for (const LinuxDifference& d : linux_differences()) {
    expected << "| " << d.since.major << '.' << d.since.minor << " | " << oracle_call_name(d.call)
             << " | " << d.what << " |\n";
  }
  EXPECT_EQ(rows.str(), expected.str());
}

TEST(LinuxVersions, a_release_is_read_up_to_its_minor_number) {
  EXPECT_EQ(linux_version("6.18.44-custom"), (LinuxVersion{6, 18}));
  EXPECT_EQ(linux_version("7.0-rc1"), (LinuxVersion{7, 0}));
  EXPECT_FALSE(linux_version(""));
  EXPECT_FALSE(linux_version("six"));
  EXPECT_FALSE(linux_version("6"));
}

TEST(LinuxVersions, only_older_kernels_and_the_same_call_are_named) {
  const auto count = [](std::string_view release, OracleCall call) {
    int n = 0;
    for_each_known_difference(release, call, [&](const LinuxDifference&) { ++n; });
    return n;
  };
  EXPECT_EQ(count("6.18.1", OracleCall::mremap), 0);
  EXPECT_EQ(count("6.12.3", OracleCall::mremap), 1);
  EXPECT_EQ(count("6.12.3", OracleCall::munmap), 0);
  EXPECT_EQ(count("", OracleCall::mremap), 0);
}

}  // namespace
}  // namespace pervma::trace
