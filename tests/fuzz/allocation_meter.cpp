#include "fuzz/allocation_meter.h"

#include <atomic>
#include <cstdlib>
#include <new>

#ifdef __APPLE__
#include <malloc/malloc.h>
#define REALM_USABLE_BYTES malloc_size
#else
#include <malloc.h>
#define REALM_USABLE_BYTES malloc_usable_size
#endif

namespace {

std::atomic<int64_t> live_bytes{0};
std::atomic<int64_t> peak_live_bytes{0};

void note(int64_t change) {
  const int64_t live = live_bytes.fetch_add(change, std::memory_order_relaxed) + change;
  int64_t peak = peak_live_bytes.load(std::memory_order_relaxed);
  while (live > peak && !peak_live_bytes.compare_exchange_weak(peak, live)) {
  }
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  note(-static_cast<int64_t>(REALM_USABLE_BYTES(memory)));
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t bytes) {
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  note(static_cast<int64_t>(REALM_USABLE_BYTES(memory)));
  return memory;
}

void* operator new[](std::size_t bytes) {
  return operator new(bytes);
}
// Used by std::stable_sort; a sanitizer would serve it from elsewhere than the delete below
// expects.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory != nullptr) note(static_cast<int64_t>(REALM_USABLE_BYTES(memory)));
  return memory;
}
void operator delete(void* memory) noexcept {
  release(memory);
}
void operator delete[](void* memory) noexcept {
  release(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  release(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  release(memory);
}

namespace realm::test {

AllocationMeter::AllocationMeter() : live_at_start_(live_bytes) {
  peak_live_bytes = live_at_start_;
}

uint64_t AllocationMeter::peak_bytes() const {
  return static_cast<uint64_t>(peak_live_bytes - live_at_start_);
}

}  // namespace realm::test
