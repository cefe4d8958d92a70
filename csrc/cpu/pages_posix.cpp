#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "cpu/pages.h"

namespace realm::cpu {

namespace {

uint64_t round_up(uint64_t bytes, uint64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

uint8_t* align_up(void* at, uint64_t unit) {
  const auto address = reinterpret_cast<uintptr_t>(at);
  return static_cast<uint8_t*>(at) + (round_up(address, unit) - address);
}

// 4096 bytes on x86, up to 65536 on Arm.
uint64_t page_bytes() {
  static const auto bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

// Room to begin at a huge page.
size_t mapped_bytes(uint64_t bytes) {
  return static_cast<size_t>(bytes + kHugePage);
}

}  // namespace

Pages::Pages(uint64_t bytes, const char* what)
    : bytes_(round_up(bytes, kHugePage)),
      mapped_(::mmap(nullptr, mapped_bytes(bytes_), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
  if (mapped_ == MAP_FAILED) {
    fail(ErrorCode::kOutOfMemory, "cannot allocate ", human_bytes(bytes), " for ", what);
  }
  begin_ = align_up(mapped_, kHugePage);
#if defined(MADV_HUGEPAGE)
  ::madvise(begin_, static_cast<size_t>(bytes_), MADV_HUGEPAGE);
#endif
}

Pages::~Pages() {
  ::munmap(mapped_, mapped_bytes(bytes_));
}

void Pages::forget(uint8_t* from, uint64_t bytes) {
#if defined(__APPLE__)
  constexpr int kGiveBack = MADV_FREE;  // where MADV_DONTNEED keeps them
#else
  constexpr int kGiveBack = MADV_DONTNEED;
#endif
  const uint64_t page = page_bytes();
  uint8_t* first = align_up(from, page);
  const auto skipped = static_cast<uint64_t>(first - from);
  if (bytes < skipped + page) return;
  ::madvise(first, static_cast<size_t>((bytes - skipped) / page * page), kGiveBack);
}

}  // namespace realm::cpu
