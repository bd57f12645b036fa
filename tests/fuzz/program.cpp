#include "fuzz/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

namespace pervma::test {

using trace::kOracleWindow;
using trace::kOracleWindowPages;
using trace::OracleAnswer;
using trace::OracleCall;
using trace::OracleOperation;
using trace::OracleReplica;

namespace {

// Bytes of a program, zeros behind the end.
class Bytes {
 public:
  explicit Bytes(std::span<const uint8_t> bytes) noexcept : rest_(bytes) {}
  bool empty() const noexcept { return rest_.empty(); }
  uint8_t next() noexcept {
    if (rest_.empty()) return 0;
    const uint8_t b = rest_.front();
    rest_ = rest_.subspan(1);
    return b;
  }

 private:
  std::span<const uint8_t> rest_;
};

constexpr uint64_t kFirstPage = 384;  // programs live in 256 pages here: tables' borders in between

Address address_from(uint8_t page, uint8_t oddity) noexcept {
  switch (oddity) {
    case 1: return kOracleWindow + PageCount{kFirstPage + page} + uint64_t{page} * 13 + 1;
    case 2: return Address{0};
    case 3: return Address{~uint64_t{0} & ~kPageMask};
    case 4: return Address{(uint64_t{1} << 63) + (uint64_t{page} << kPageShift)};
    case 5: return kOracleWindow + PageCount{kOracleWindowPages - 1 - page % 8};
    default: return kOracleWindow + PageCount{kFirstPage + page};
  }
}

uint64_t length_from(uint8_t pages, uint8_t oddity) noexcept {
  switch (oddity) {
    case 1: return (uint64_t{pages} << kPageShift) + 1;
    case 2: return 0;
    case 3: return ~uint64_t{0};
    case 4: return ~uint64_t{0} - (uint64_t{pages} << kPageShift);
    case 5: return uint64_t{512} << kPageShift;
    default: return (uint64_t{pages} % 64 + 1) << kPageShift;
  }
}

constexpr int32_t kAdvice[] = {0,  1,  2,  3,  4,  8,  9,  10, 11, 12,  13,  14,  15,  16,
                               17, 18, 19, 20, 21, 22, 23, 24, 25, 100, 102, 103, 999, -1};

// What the two free bytes of a step mean depends on the call.
void read_arguments(OracleOperation& op, uint8_t a, uint8_t b, Bytes& bytes) noexcept {
  switch (op.call) {
    case OracleCall::mmap: {
      op.prot = a & 7u;
      constexpr uint32_t kTypes[] = {2, 2, 2, 1, 1, 3, 8, 0};
      constexpr uint32_t kOptions[] = {0, 0x2000, 0x4000, 0x8000, 0x20000, 0x100, 0x10000, 0x80000};
      constexpr uint32_t kPlacing[] = {0x10, 0x10, 0x100000, 0};
      op.flags = kTypes[b & 7] | kOptions[(a >> 3) & 7] | kPlacing[a >> 6];
      op.file = static_cast<uint8_t>((b >> 3) & 7) > trace::kOracleOpenings ? 0 : (b >> 3) & 7;
      if (op.file == 0) op.flags |= 0x20;
      op.offset = uint64_t{b} >> 6 << kPageShift;
      if ((b & 0xf8) == 0xf8) op.offset = 0x7fff'ffff'ffff'e000;
      break;
    }
    case OracleCall::mprotect: op.prot = (a & 7u) | (b >= 0xf8 ? uint32_t{b} << 22 : 0); break;
    case OracleCall::madvise: op.advice = kAdvice[a % std::size(kAdvice)]; break;
    case OracleCall::mremap:
      op.new_length = length_from(b, (a >> 4) & 7);
      op.flags = a & 15u;
      op.new_address = op.flags < 2 ? Address{0} : address_from(bytes.next(), a >> 7 != 0 ? 5 : 0);
      break;
    case OracleCall::mlock2: op.flags = a & 3u; break;
    case OracleCall::mlockall:
    case OracleCall::msync: op.flags = a & 15u; break;
    case OracleCall::brk: op.address = op.address + (uint64_t{b} << 4); break;
    case OracleCall::read:
    case OracleCall::write:
      op.length = 0;
      op.byte = op.call == OracleCall::write ? b : 0;
      break;
    default: break;
  }
}

Step read_step(Bytes& bytes) noexcept {
  Step step;
  step.operation.call = static_cast<OracleCall>(bytes.next() % trace::kOracleCalls);
  OracleOperation& op = step.operation;
  const uint8_t page = bytes.next();
  const uint8_t pages = bytes.next();
  const uint8_t oddities = bytes.next();
  const uint8_t a = bytes.next();
  const uint8_t b = bytes.next();
  const uint8_t failure = bytes.next();
  if (op.call != OracleCall::fork && op.call != OracleCall::mlockall &&
      op.call != OracleCall::munlockall) {
    op.address = address_from(page, oddities & 15);
    if (op.call != OracleCall::brk) op.length = length_from(pages, oddities >> 4);
  }
  read_arguments(op, a, b, bytes);
  if ((failure & 1) != 0) {
    step.fails_after = (failure >> 2) % 24;
    step.lasts = (failure & 2) != 0 ? FailureLasts::on : FailureLasts::once;
  }
  return step;
}

// A fork doubles what there is to check.
constexpr size_t kMostForks = 6;
constexpr size_t kMostSteps = 400;

}  // namespace

Program Program::from_bytes(std::span<const uint8_t> input) {
  Bytes bytes(input);
  Program p;
  p.design = kDesigns[bytes.next() % kDesigns.size()];
  const uint8_t world = bytes.next();
  if ((world & 1) != 0) p.setup.brk = kFirstPage + (world >> 4);
  if ((world & 2) != 0) p.setup.memlock = world >> 2;
  if ((world & 4) != 0) p.setup.address_space = world;
  size_t forks = 0;
  while (!bytes.empty() && p.steps.size() < kMostSteps) {
    p.steps.push_back(read_step(bytes));
    if (p.steps.back().operation.call == OracleCall::fork && ++forks > kMostForks) break;
  }
  return p;
}

std::string Program::scenario() const {
  std::string text =
      trace::oracle_head(setup, fmt::format("profile=directed design={}", design_name(design)));
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    if (step.fails_after != Step::kNever) {
      text += fmt::format("# {} allocations succeed, then {}\n", step.fails_after,
                          step.lasts == FailureLasts::on ? "none" : "one fails");
    }
    OracleAnswer none;
    none.place = kOracleWindow;
    text += fmt::format("O {} {} -> {}{}\n", i, text_of(step.operation).view(),
                        text_of(step.operation.call, none).view(),
                        step.operation.call == OracleCall::mincore ? " -" : "");
  }
  return text + fmt::format("E {}\n", steps.size());
}

ProgramRunner::ProgramRunner() {
  Result<std::unique_ptr<Engine>> engine = Engine::create({.frames = {uint64_t{1} << 16}});
  if (engine) engine_ = std::move(*engine);
}

std::string ProgramRunner::run(const Program& program) {
  if (engine_ == nullptr) return "no memory for an engine";
  {
    Result<OracleReplica> replica =
        OracleReplica::create(*engine_, program.design, program.setup, trace::oracle_files());
    if (!replica) return "no memory for a space";
    for (size_t i = 0; i < program.steps.size(); ++i) {
      const Step& step = program.steps[i];
      try {
        if (step.fails_after == Step::kNever) {
          (void)replica->execute(step.operation);
        } else {
          const FailingAllocation failing(static_cast<SoftEngine&>(*engine_), step.fails_after,
                                          step.lasts);
          (void)replica->execute(step.operation);
        }
      } catch (const std::bad_alloc&) {
        ++refused_;  // By the replica's own lists: pervma does not throw.
      }
      if (std::string wrong = replica->space().check(); !wrong.empty()) {
        return fmt::format("step {}: {}", i, wrong);
      }
    }
  }
  // Waits for a grace period: not each time.
  constexpr unsigned kRunsBetween = 64;
  return runs_++ % kRunsBetween == 0 ? leaks() : std::string();
}

std::string ProgramRunner::leaks() {
  engine_->quiesce();
  if (engine_->frames_used().value != 0) {
    return fmt::format("{} frames were not given back", engine_->frames_used().value);
  }
  return {};
}

}  // namespace pervma::test
