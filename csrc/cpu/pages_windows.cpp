// Windows promises memory when it is allocated and finds pages when they are touched; it has huge
// ones only for processes with a privilege, so these are small.
#include "base/error.h"
#include "base/text.h"
#include "base/windows.h"
#include "cpu/pages.h"

namespace realm::cpu {

namespace {

uint64_t round_up(uint64_t bytes, uint64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

uint64_t page_bytes() {
  static const uint64_t bytes = [] {
    SYSTEM_INFO info{};
    ::GetSystemInfo(&info);
    return uint64_t{info.dwPageSize};
  }();
  return bytes;
}

}  // namespace

// What VirtualAlloc gives begins at a multiple of 64 KiB, which is all that begin() needs here.
Pages::Pages(uint64_t bytes, const char* what)
    : bytes_(round_up(bytes, kHugePage)),
      mapped_(::VirtualAlloc(nullptr, bytes_, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE)),
      begin_(static_cast<uint8_t*>(mapped_)) {
  if (!mapped_)
    fail(ErrorCode::kOutOfMemory, "cannot allocate ", human_bytes(bytes), " for ", what);
}

Pages::~Pages() {
  ::VirtualFree(mapped_, 0, MEM_RELEASE);
}

// The pages stay promised, so that they can be written again.
void Pages::forget(uint8_t* from, uint64_t bytes) {
  const uint64_t page = page_bytes();
  const auto address = reinterpret_cast<uintptr_t>(from);
  const uint64_t skipped = round_up(address, page) - address;
  if (bytes < skipped + page) return;
  ::VirtualAlloc(from + skipped, (bytes - skipped) / page * page, MEM_RESET, PAGE_READWRITE);
}

}  // namespace realm::cpu
