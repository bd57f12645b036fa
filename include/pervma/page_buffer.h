// page_buffer.h: a page of an engine's memory in the caller's hands, to be filled and then put into
// a mapping without a copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "pervma/address.h"

namespace pervma {

class Engine;

// Move-only; may be empty. Ends before its engine. Its bytes are the caller's alone until it is
// inserted, and begin with whatever was there.
class PageBuffer {
 public:
  PageBuffer() noexcept = default;
  PageBuffer(PageBuffer&& other) noexcept
      : engine_(std::exchange(other.engine_, nullptr)),
        frame_(other.frame_),
        bytes_(std::exchange(other.bytes_, nullptr)) {}
  PageBuffer& operator=(PageBuffer&& other) noexcept {
    std::swap(engine_, other.engine_);
    std::swap(frame_, other.frame_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PageBuffer();  // Gives the page back.

  explicit operator bool() const noexcept { return bytes_ != nullptr; }
  std::span<std::byte, kPageSize> bytes() const noexcept {
    return std::span<std::byte, kPageSize>(bytes_, kPageSize);
  }

  // For engines.
  PageBuffer(Engine& engine, uint32_t frame, std::byte* bytes) noexcept
      : engine_(&engine), frame_(frame), bytes_(bytes) {}
  bool belongs_to(const Engine& engine) const noexcept { return engine_ == &engine; }
  uint32_t frame() const noexcept { return frame_; }
  void release() noexcept {
    engine_ = nullptr;
    bytes_ = nullptr;
  }

 private:
  Engine* engine_ = nullptr;
  uint32_t frame_ = 0;
  std::byte* bytes_ = nullptr;
};

}  // namespace pervma
