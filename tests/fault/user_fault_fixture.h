// user_fault_fixture.h: a space with a UserFaults whose handler is the test's.
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "tests/fault/space_fixture.h"

namespace pervma::test {

inline constexpr auto kMissing = UserFaultModes::missing;
inline constexpr auto kClosing = UserFaultModes::write_protect;
inline constexpr auto kMinor = UserFaultModes::minor;

// Asks a function of the test.
class AskingHandler final : public UserFaultHandler {
 public:
  using Answer = std::function<UserFaultAnswer(const UserFault&, const std::stop_token&)>;
  UserFaultAnswer fault(const UserFault& f, const std::stop_token& stop) override {
    calls.fetch_add(1);
    return answer(f, stop);
  }
  Answer answer = [](const UserFault&, const std::stop_token&) { return UserFaultAnswer::wait; };
  std::atomic<int> calls{0};
};

class UserFaultFixture : public SpaceFixture {
 protected:
  explicit UserFaultFixture(const EngineOptions& options = {.frames = {10'000}})
      : SpaceFixture(options), faults_(*space_->create_user_faults({.handler = &handler_})) {}
  ~UserFaultFixture() override { faults_.reset(); }

  static std::vector<std::byte> page_full_of(uint64_t word) {
    std::vector<std::byte> page(kPageSize);
    for (size_t i = 0; i < kPageSize; i += 8) {
      std::ranges::copy(bytes_of(word), page.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return page;
  }
  Range told(uint64_t pages, UserFaultModes modes = kMissing, MapFlags flags = kAnon) {
    const Range r = map(pages, kRw, flags);
    EXPECT_TRUE(faults_->register_range(r.start, r.bytes(), modes));
    return r;
  }
  static int error_of(const Result<void>& r) { return r ? 0 : static_cast<int>(r.error()); }
  static int error_of(const UserFaultDone& d) { return d.error ? static_cast<int>(*d.error) : 0; }
  int register_error(Range r, UserFaultModes modes) {
    return error_of(faults_->register_range(r.start, r.bytes(), modes));
  }
  UserFaultModes modes_at(Address a) { return space_->find_vma(a)->user_faults; }
  // Whoever is told next finds a page of these words.
  void answer_with(uint64_t word) {
    handler_.answer = [this, word](const UserFault& f, const std::stop_token&) {
      (void)faults_->copy(f.address, page_full_of(word));
      return UserFaultAnswer::look_again;
    };
  }
  void never_ask() {
    handler_.answer = [](const UserFault& f, const std::stop_token&) {
      ADD_FAILURE() << "told of " << f.address.value;
      return UserFaultAnswer::bus_error;
    };
  }

  AskingHandler handler_;
  std::unique_ptr<UserFaults> faults_;
};

}  // namespace pervma::test
