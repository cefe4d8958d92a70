#include "cuda/emulation/memory.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <sys/mman.h>

namespace realm::simt {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kHides = false;
#else
constexpr bool kHides = true;
#endif

constexpr uint64_t kPage = 1 << 16;             // a multiple of every system's
constexpr uint64_t kSpace = uint64_t{1} << 36;  // of addresses, not of memory

struct Memory {
  std::mutex mutex;
  std::map<const void*, uint64_t> taken;          // sizes as asked for
  std::multimap<uint64_t, unsigned char*> given;  // back, by size in whole pages
  unsigned char *base = nullptr, *top = nullptr;
  int n_visible = 0;
};

// Never destroyed: a thread may still compute when the process ends.
Memory& memory() {
  static Memory& one = *new Memory;
  return one;
}

uint64_t whole_pages(uint64_t bytes) {
  return (bytes / kPage + 1) * kPage;
}

void protect(const Memory& m, int how) {
  if (m.top > m.base) mprotect(m.base, static_cast<size_t>(m.top - m.base), how);
}

// Of the space of addresses; the mutex is held.
unsigned char* take_pages(Memory& m, uint64_t bytes) {
  const auto found = m.given.find(bytes);
  if (found != m.given.end()) {
    unsigned char* pages = found->second;
    m.given.erase(found);
    return pages;
  }
  if (!m.base) {
    void* space =
        mmap(nullptr, kSpace, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) return nullptr;
    m.base = m.top = static_cast<unsigned char*>(space);
  }
  if (bytes > kSpace - static_cast<uint64_t>(m.top - m.base)) return nullptr;
  unsigned char* pages = m.top;
  m.top += bytes;
  if (m.n_visible > 0) mprotect(pages, bytes, PROT_READ | PROT_WRITE);
  return pages;
}

void* take_place(Memory& m, uint64_t bytes) {
  if (kHides) return take_pages(m, whole_pages(bytes));
  void* place = nullptr;  // the red zone stands right behind the last byte
  return posix_memalign(&place, kMemoryAlignment, bytes) == 0 ? place : nullptr;
}

}  // namespace

Visible::Visible() {
  if (!kHides) return;
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  if (m.n_visible++ == 0) protect(m, PROT_READ | PROT_WRITE);
}

Visible::~Visible() {
  if (!kHides) return;
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  if (--m.n_visible == 0) protect(m, PROT_NONE);
}

void* take_memory(uint64_t bytes) {
  Memory& m = memory();
  void* place = nullptr;
  {
    const std::lock_guard lock(m.mutex);
    place = take_place(m, bytes);
    if (!place) return nullptr;
    m.taken.emplace(place, bytes);
  }
  const Visible visible;
  std::memset(place, 0xff, bytes);
  return place;
}

void give_memory_back(void* place) noexcept {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  const auto found = m.taken.find(place);
  if (kHides) {
    const uint64_t bytes = whole_pages(found->second);
    madvise(place, bytes, MADV_DONTNEED);
    m.given.emplace(bytes, static_cast<unsigned char*>(place));
  } else {
    std::free(place);
  }
  m.taken.erase(found);
}

uint64_t memory_size(const void* place) {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  return m.taken.at(place);
}

}  // namespace realm::simt
