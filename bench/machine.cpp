#include "bench/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <fstream>
#include <sstream>

#include "bench/runner.h"
#include "bench/tick_clock.h"
#include "pervma/version.h"

namespace pervma::bench {

namespace {

// The value after "name :" in a file of such lines.
std::string value_in(const char* path, const std::string& name) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(name)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    return value == std::string::npos ? std::string() : line.substr(value);
  }
  return {};
}

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string processor() {
  const std::string name = value_in("/proc/cpuinfo", "model name");
  if (name.empty()) return "unknown processor";
  const std::string family = value_in("/proc/cpuinfo", "cpu family");
  const std::string model = value_in("/proc/cpuinfo", "model\t");
  return fmt::format("{} (family {}, model {})", name, family, model);
}

bool is_virtual() {
  return value_in("/proc/cpuinfo", "flags").find(" hypervisor") != std::string::npos;
}

std::string caches() {
  std::string all;
  for (unsigned i = 0; i < 8; ++i) {
    const std::string dir = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", i);
    const std::string size = first_line(dir + "size");
    if (size.empty()) break;
    const std::string type = first_line(dir + "type");
    all += fmt::format("{}L{}{} {}", all.empty() ? "" : ", ", first_line(dir + "level"),
                       type == "Data"          ? "d"
                       : type == "Instruction" ? "i"
                                               : "",
                       size);
  }
  return all.empty() ? "unknown" : all;
}

std::string memory() {
  const double bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return fmt::format("{:.0f} GiB", bytes / static_cast<double>(1u << 30));
}

std::string kernel() {
  utsname name{};
  return uname(&name) == 0 ? fmt::format("{} {} {}", name.sysname, name.release, name.machine)
                           : "unknown";
}

std::string compiler() {
#if defined(__clang__)
  return fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  return fmt::format("g++ {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}

std::string build() {
  std::string build;
#if defined(__OPTIMIZE__)
  build = "optimised";
#else
  build = "not optimised";
#endif
#if defined(PERVMA_DEBUG_CHECKS)
  build += ", debug checks";
#endif
  return build;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> describe_machine() {
  const TickClock clock;
  return {{"processor", processor()},
          {"cpus", std::to_string(usable_cpus())},
          {"virtual", is_virtual() ? "yes" : "no"},
          {"caches", caches()},
          {"memory", memory()},
          {"kernel", kernel()},
          {"clock", fmt::format("{:.0f} ns around an operation, in steps of {:.0f} ns",
                                clock.overhead_ns(), clock.step_ns())},
          {"compiler", compiler()},
          {"build", build()},
          {"pervma", std::string(version())}};
}

std::string machine_in_short() {
  return fmt::format("{}, {} CPUs{}, {}, {}, {}, {}", processor(), usable_cpus(),
                     is_virtual() ? " of a virtual machine" : "", memory(), kernel(), compiler(),
                     build());
}

std::string machine_slug() {
  std::string slug;
  for (const char c : value_in("/proc/cpuinfo", "model name").substr(0, 24)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      slug += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
  }
  while (!slug.empty() && slug.back() == '-') slug.pop_back();
  return fmt::format("{}-{}cpu", slug.empty() ? "machine" : slug, usable_cpus());
}

CoreWatch::CoreWatch() : begin_(now()) {}

CoreWatch::Sample CoreWatch::now() {
  Sample s{};
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  s.wall_s = static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  s.own_s = static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  // cpu user nice system idle iowait irq softirq steal
  std::istringstream line(first_line("/proc/stat"));
  std::string cpu;
  line >> cpu;
  for (int i = 0; i < 8; ++i) {
    double ticks = 0;
    line >> ticks;
    if (i != 3 && i != 4) s.busy_s += ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  return s;
}

double CoreWatch::taken_by_others() const {
  const Sample end = now();
  const double wall = std::max(end.wall_s - begin_.wall_s, 1e-9);
  const double others = (end.busy_s - begin_.busy_s) - (end.own_s - begin_.own_s);
  return std::max(0.0, others / wall);
}

}  // namespace pervma::bench
