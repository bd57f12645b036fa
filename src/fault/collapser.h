// collapser.h: what makes huge pages without being asked for each: it goes through the spaces of an
// engine in turn, a few places of 2 MiB at a step, and collapses those that are wanted as one and
// filled well enough (vm/collapse.h). By hand, and by a thread where the engine has one.
//
// Lock order: this mutex > every lock of a space. A space is added and removed while its adder
// holds none of them, and removing waits for a step that is in it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "pervma/address.h"
#include "vm/huge_pages.h"

namespace pervma {

// A space, as the collapser sees it.
class CollapseTarget {
 public:
  // Looks at `looks` places from `from` on at most, and collapses one at most.
  virtual CollapseScan collapse_step(Address from, unsigned looks) noexcept = 0;
  // Where its addresses end.
  virtual Address collapse_end() const noexcept = 0;

 protected:
  ~CollapseTarget() = default;
};

class Collapser {
 public:
  Collapser() noexcept = default;
  ~Collapser();
  Collapser(const Collapser&) = delete;
  Collapser& operator=(const Collapser&) = delete;

  // False: there is no thread to be had.
  [[nodiscard]] bool start() noexcept;
  // False: no memory.
  [[nodiscard]] bool add(CollapseTarget&) noexcept;
  void remove(CollapseTarget&) noexcept;  // It may not be there.

  // How many huge pages it made.
  uint64_t step(uint64_t places) noexcept;

 private:
  static constexpr uint64_t kPlaces = 16;  // of a step of the thread

  void run(const std::stop_token& stop) noexcept;

  std::mutex mutex_;
  std::vector<CollapseTarget*> spaces_;
  std::size_t current_ = 0;  // in spaces_; and where to go on in it
  Address next_{};
  std::mutex sleep_mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

}  // namespace pervma
