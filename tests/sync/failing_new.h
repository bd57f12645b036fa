// failing_new.h: makes this thread's non-throwing allocations fail while an object of it lives.
#pragma once

namespace pervma::test {

class FailingNew {
 public:
  FailingNew() noexcept;
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;
};

}  // namespace pervma::test
