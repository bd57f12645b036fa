// fault_wait.h: what a fault waits for when it holds no lock any more: a page that is read in, or
// the embedder's answer. Remembered while the VMA was kept; nothing of the VMA is in it (rule R15).
#pragma once

#include <optional>
#include <utility>

#include "fault/awaited_page.h"
#include "fault/user_waits.h"
#include "pervma/fault.h"

namespace pervma {

class FaultWait {
 public:
  explicit FaultWait(AwaitedPage page) noexcept : page_(std::move(page)) {}
  FaultWait(UserWaits& waits, const UserFault& fault) noexcept
      : user_(std::in_place, waits, fault) {}
  FaultWait(const FaultWait&) = delete;
  FaultWait& operator=(const FaultWait&) = delete;

  bool is_for_page() const noexcept { return page_.has_value(); }
  void set(const UserFault& fault) noexcept { user_->set(fault); }

  // Waits. Nothing: the fault is to be served again. `answers` counts those that said so without a
  // page having come; somebody who always says so is not believed for ever.
  [[nodiscard]] std::optional<FaultOutcome> finish(const std::stop_token& stop,
                                                   int& answers) noexcept {
    constexpr int kMostAnswers = 1000;
    if (page_) {
      if (!page_->bring_in(stop)) return FaultOutcome::interrupted;
      return std::nullopt;
    }
    switch (user_->tell(stop)) {
      case UserWait::End::woken: return std::nullopt;
      case UserWait::End::answered:
        if (++answers < kMostAnswers) {
          if (stop.stop_requested()) return FaultOutcome::interrupted;
          return std::nullopt;
        }
        user_->count_nonsense();
        return FaultOutcome::bus_error;
      case UserWait::End::refused: return FaultOutcome::bus_error;
      case UserWait::End::interrupted: break;
    }
    return FaultOutcome::interrupted;
  }

 private:
  std::optional<AwaitedPage> page_;
  std::optional<UserWait> user_;
};

}  // namespace pervma
