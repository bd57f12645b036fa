// machine.h: what a result was measured on, and whether the machine was free meanwhile.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace pervma::bench {

// Names and values, ready to print: processor, CPUs, caches, memory, kernel, compiler, build.
std::vector<std::pair<std::string, std::string>> describe_machine();
// The essence of it in one line.
std::string machine_in_short();
// "amd-epyc-2cpu": for a file's name.
std::string machine_slug();

// Looks at what others did with the CPUs between its making and its end.
class CoreWatch {
 public:
  CoreWatch();
  // The share of one CPU that other processes (and the host, on a virtual machine) took.
  double taken_by_others() const;

 private:
  struct Sample {
    double wall_s;
    double busy_s;  // of all CPUs, all processes; time stolen by the host counts
    double own_s;
  };
  static Sample now();

  Sample begin_;
};

// Below it the cores count as free.
inline constexpr double kFreeBelow = 0.05;

}  // namespace pervma::bench
