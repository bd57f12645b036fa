#include "harness.h"

#include "site_name.h"

// What the protocols' assertions end in: a failure of the schedule, in place of an abort.
namespace pervma::detail {
[[noreturn]] void assert_fail(const char* file, int line, const char* text) noexcept {
  rl::ctx().fail_test(text, rl::test_result_user_assert_failed,
                      {"", file, static_cast<unsigned>(line)});
  std::abort();
}
[[noreturn]] void assert_fail_values(const char* file, int line, const char* text, uint64_t,
                                     uint64_t) noexcept {
  assert_fail(file, line, text);
}
}  // namespace pervma::detail

namespace pervma::verify {
namespace {

constexpr uint64_t kMutantSchedules = 200'000;

constexpr std::string_view kUsage =
    R"(explores the scenarios of a protocol, schedule by schedule

  --scenario NAME   only this one
  --mutant SITE     break one site (src/sync/site.h) and expect that a schedule fails
  --schedules N     draw N schedules of each scenario, in place of its own bound
  --bound N         every schedule with at most N switches, in place of its own bound
  --full            every schedule of each scenario, in place of its own bound
  --trace           print the schedule that fails, step by step
  --json            one JSON object a line
  --list            name the scenarios

example: {} --mutant vma_enter --trace
exit status: 0 as expected; 1 a schedule failed, or a mutant was not caught; 2 bad usage
)";

std::string describe(Search s) {
  switch (s.kind) {
    case rl::sched_full: return "exhaustive";
    case rl::sched_bound: return "at most " + std::to_string(s.amount) + " switches";
    default: return "random";
  }
}

// A report's first line says what failed.
std::string_view verdict(std::string_view report) { return report.substr(0, report.find('\n')); }

int misuse(std::string_view name, std::string_view what, std::string_view value) {
  std::cerr << name << ": " << what << ' ' << value << " (see --help)\n";
  return 2;
}

}  // namespace

int Harness::run(int argc, char** argv) {
  Format format = Format::text;
  const std::vector<std::string_view> args(argv + 1, argv + argc);
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string_view a = args[i];
    if (a == "--help") {
      std::string usage(kUsage);
      usage.replace(usage.find("{}"), 2, name_);
      std::cout << name_ << ' ' << usage;
      return 0;
    }
    if (a == "--list") {
      for (const Entry& e : entries_) {
        std::cout << e.name;
        for (const Search& s : e.searches) std::cout << ", " << describe(s);
        std::cout << '\n';
      }
      return 0;
    }
    if (a == "--full") {
      search_ = {exhaustive()};
    } else if (a == "--trace") {
      trace_ = true;
    } else if (a == "--json") {
      format = Format::json;
    } else if (a != "--scenario" && a != "--mutant" && a != "--schedules" && a != "--bound") {
      return misuse(name_, "unknown option", a);
    } else if (i + 1 == args.size()) {
      return misuse(name_, "a value is missing after", a);
    } else if (a == "--scenario") {
      only_ = args[++i];
    } else if (a == "--mutant") {
      mutant_ = args[++i];
    } else {
      const bool bound = a == "--bound";
      const uint64_t n = std::strtoull(argv[++i + 1], nullptr, 10);
      if (n == 0) return misuse(name_, "not a number above 0:", args[i]);
      search_ = {bound ? bounded(static_cast<unsigned>(n)) : random_schedules(n)};
    }
  }
  if (!only_.empty()) {
    std::erase_if(entries_, [this](const Entry& e) { return e.name != only_; });
    if (entries_.empty()) return misuse(name_, "no scenario is called", only_);
  }
  if (mutant_.empty()) {
    int failed = 0;
    for (const Entry& e : entries_) {
      for (const Search& search : search_.empty() ? e.searches : search_) {
        if (!explore_one(e, search, format)) failed = 1;
      }
    }
    return failed;
  }
  const std::optional<Site> site = site_by_name(mutant_);
  if (!site) return misuse(name_, "no site is called", mutant_);
  g_mutant = *site;
  return break_one(format);
}

bool Harness::explore_one(const Entry& entry, Search search, Format format) const {
  const Outcome o = entry.explore(search);
  if (format == Format::json) {
    std::printf(R"({"harness": "%s", "scenario": "%s", "search": "%s", "schedules": %llu, )"
                R"("seconds": %.3f, "passed": %s})"
                "\n",
                std::string(name_).c_str(), std::string(entry.name).c_str(),
                describe(search).c_str(), static_cast<unsigned long long>(o.schedules), o.seconds,
                o.passed ? "true" : "false");
  } else {
    std::printf("%s: %llu schedules, %s, %.2f s: %s\n", std::string(entry.name).c_str(),
                static_cast<unsigned long long>(o.schedules), describe(search).c_str(), o.seconds,
                o.passed ? "ok" : std::string(verdict(o.report)).c_str());
  }
  if (!o.passed && trace_) std::fputs(o.report.c_str(), stdout);
  std::fflush(stdout);
  return o.passed;
}

int Harness::break_one(Format format) const {
  const Search search = search_.empty() ? random_schedules(kMutantSchedules) : search_[0];
  for (const Entry& e : entries_) {
    const Outcome o = e.explore(search);
    if (o.passed) continue;
    if (format == Format::json) {
      std::printf(R"({"harness": "%s", "mutant": "%s", "scenario": "%s", "schedules": %llu, )"
                  R"("seconds": %.3f, "caught": true})"
                  "\n",
                  std::string(name_).c_str(), std::string(mutant_).c_str(),
                  std::string(e.name).c_str(), static_cast<unsigned long long>(o.schedules),
                  o.seconds);
    } else {
      std::printf("%s: caught by %s after %llu schedules, %.2f s: %s\n",
                  std::string(mutant_).c_str(), std::string(e.name).c_str(),
                  static_cast<unsigned long long>(o.schedules), o.seconds,
                  std::string(verdict(o.report)).c_str());
    }
    if (trace_) std::fputs(o.report.c_str(), stdout);
    return 0;
  }
  if (format == Format::json) {
    std::printf(R"({"harness": "%s", "mutant": "%s", "caught": false})"
                "\n",
                std::string(name_).c_str(), std::string(mutant_).c_str());
  } else {
    std::printf("%s: survived\n", std::string(mutant_).c_str());
  }
  return 1;
}

}  // namespace pervma::verify
