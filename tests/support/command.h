// command.h: runs the `pervma` command as a user does.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

namespace pervma::test {

struct CommandOutcome {
  int status = -1;
  std::string out;
  std::string err;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A path of this process's own.
inline std::string temp_path(const std::string& name) {
  return ::testing::TempDir() + "pervma_command_" + std::to_string(::getpid()) + "_" + name;
}

inline CommandOutcome run_shell(const std::string& command) {
  const std::string err = temp_path("err");
  CommandOutcome o;
  std::FILE* pipe = ::popen((command + " 2>" + err).c_str(), "r");
  if (pipe == nullptr) return o;
  std::array<char, 4096> buffer{};
  for (size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    o.out.append(buffer.data(), n);
  }
  const int status = ::pclose(pipe);
  o.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  o.err = slurp(err);
  ::unlink(err.c_str());
  return o;
}

inline CommandOutcome run_pervma(const std::string& arguments) {
  return run_shell(std::string(PERVMA_TEST_TOOL) + " " + arguments);
}

// One line on stderr that holds `what`, status 2.
inline void expect_refused(const CommandOutcome& o, const std::string& what) {
  EXPECT_EQ(o.status, 2);
  EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
  EXPECT_NE(o.err.find(what), std::string::npos) << o.err;
}

}  // namespace pervma::test
