#include "bench/fork.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <list>
#include <memory>
#include <optional>

#include "bench/kernel_area.h"
#include "bench/subjects.h"
#include "pervma/pervma.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "fork";
constexpr uint64_t kPagesPerVma = 10;
constexpr uint64_t kStep = (kPagesPerVma + 1) * kPageSize;  // a gap keeps them apart

// A process with the map and nothing else to speak of, which forks when it is told to. Made while
// this process is small: it begins with what this one has.
class KernelProcess {
 public:
  explicit KernelProcess(uint64_t vmas) {
    int to[2];
    int from[2];
    if (pipe(to) != 0) return;
    if (pipe(from) != 0) {
      close(to[0]);
      close(to[1]);
      return;
    }
    pid_ = ::fork();
    if (pid_ == 0) {
      close(to[1]);
      close(from[0]);
      serve(vmas, to[0], from[1]);
      _exit(0);
    }
    close(to[0]);
    close(from[1]);
    to_ = to[1];
    from_ = from[0];
    uint64_t ready = 0;
    good_ = pid_ > 0 && read(from_, &ready, sizeof ready) == sizeof ready && ready == 1;
  }
  ~KernelProcess() {
    if (to_ >= 0) close(to_);
    if (from_ >= 0) close(from_);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }
  KernelProcess(const KernelProcess&) = delete;
  KernelProcess& operator=(const KernelProcess&) = delete;

  bool good() const noexcept { return good_; }
  // Ticks of one fork; 0: it failed.
  uint64_t fork_once() const noexcept {
    uint64_t ticks = 0;
    const char go = 1;
    if (write(to_, &go, 1) != 1 || read(from_, &ticks, sizeof ticks) != sizeof ticks) return 0;
    return ticks;
  }

 private:
  // Only system calls from here on: another thread of the parent may have had any lock.
  static void serve(uint64_t vmas, int in, int out) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    KernelArea area(vmas * kStep);
    uint64_t ready = area ? 1 : 0;
    for (uint64_t i = 0; i < vmas && ready == 1; ++i) {
      if (!area.map(i * kStep, kPagesPerVma * kPageSize)) ready = 0;
    }
    if (write(out, &ready, sizeof ready) != sizeof ready || ready == 0) return;
    for (char go = 0; read(in, &go, 1) == 1;) {
      for (uint64_t i = 0; i < vmas; ++i) {
        for (uint64_t p = 0; p < kPagesPerVma; ++p) {
          KernelArea::write(area.start() + i * kStep + p * kPageSize);
        }
      }
      const uint64_t begin = cpu_ticks_begin();
      const long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
      if (child == 0) _exit(0);
      uint64_t ticks = cpu_ticks_end() - begin;
      if (child < 0) ticks = 0;
      if (child > 0) waitpid(static_cast<pid_t>(child), nullptr, 0);
      if (write(out, &ticks, sizeof ticks) != sizeof ticks) return;
    }
  }

  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
  bool good_ = false;
};

// A space of one design, made anew before each repeat: the frames of one are all that is needed.
class Parent {
 public:
  Parent(Design design, uint64_t vmas) : design_(design), vmas_(vmas) {}

  void make() {
    const PageCount frames{vmas_ * (kPagesPerVma + 2) + 16'384};
    Result<std::unique_ptr<Engine>> engine = Engine::create({.frames = frames, .present = frames});
    if (!engine) return;
    engine_ = std::move(*engine);
    Result<std::unique_ptr<AddressSpace>> space =
        engine_->create_space({.design = design_, .max_map_count = vmas_ + 1024});
    if (!space) return;
    space_ = std::move(*space);
    good_ = true;
    for (uint64_t i = 0; i < vmas_ && good_; ++i) {
      good_ =
          space_
              ->map({.address = vma(i),
                     .length = kPagesPerVma * kPageSize,
                     .prot = Prot::read | Prot::write,
                     .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed_noreplace})
              .has_value();
      for (uint64_t p = 0; p < kPagesPerVma && good_; ++p) {
        good_ =
            space_->handle_fault(vma(i) + p * kPageSize, Access::write) == FaultOutcome::resolved;
      }
    }
  }
  void drop() {
    child_.reset();
    space_.reset();
    engine_.reset();
  }
  void fork_once(Worker& w) {
    if (good_) {
      w.run_once(1, [&] {
        Result<std::unique_ptr<AddressSpace>> child = engine_->fork(*space_);
        if (child) child_ = std::move(*child);
      });
    }
    if (child_ == nullptr || child_->map_count() != vmas_) w.note_wrong(1);
  }

 private:
  static Address vma(uint64_t i) noexcept { return Address{(uint64_t{1} << 40) + i * kStep}; }

  const Design design_;
  const uint64_t vmas_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  std::unique_ptr<AddressSpace> child_;
  bool good_ = false;
};

Case case_of(std::string_view subject, uint64_t vmas, std::function<void(Worker&)> work) {
  return {.scenario = kScenario,
          .variant = {},
          .subject = std::string(subject),
          .ranges = vmas,
          .crews = {{.role = {}, .threads = 1, .work = std::move(work)}},
          .extent = Extent::once};
}

}  // namespace

BenchResult bench_fork(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  const Limits limits;
  for (const uint64_t vmas : options.ranges) {
    std::vector<Case> cases;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    std::optional<KernelProcess> kernel;
    if (options.peers == Peers::measured) {
      kernel.emplace(vmas);
      if (!kernel->good()) return std::unexpected(no_room_for(kScenario, vmas));
      cases.push_back(case_of("kernel", vmas, [&kernel](Worker& w) {
        const uint64_t ticks = kernel->fork_once();
        w.note_once(1, ticks);
        if (ticks == 0) w.note_wrong(1);
      }));
    }
    std::list<Parent> parents;
    for (const Design design : options.designs) {
      Parent& parent = parents.emplace_back(design, vmas);
      Case& c = cases.emplace_back(
          case_of(design_name(design), vmas, [&parent](Worker& w) { parent.fork_once(w); }));
      c.before = [&parent] { parent.make(); };
      c.after = [&parent] { parent.drop(); };
    }
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench
