#include "cpu/weight_memory.h"

#include <algorithm>
#include <sys/mman.h>

#include "base/error.h"
#include "base/text.h"

namespace realm::cpu {

namespace {

constexpr int64_t kHugePage = 2 << 20, kPage = 4096, kCacheLine = 64;
constexpr int64_t kChunkBytes = 64 << 20;

int64_t round_up(int64_t bytes, int64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

uint8_t* align_up(uint8_t* at, int64_t unit) {
  const auto address = reinterpret_cast<intptr_t>(at);
  return at + (round_up(address, unit) - address);
}

}  // namespace

class WeightMemory::Chunk {
 public:
  explicit Chunk(int64_t bytes) : bytes_(round_up(bytes, kHugePage)) {
    void* memory = ::mmap(nullptr, mapped_bytes(), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      fail(ErrorCode::kOutOfMemory, "cannot allocate ", human_bytes(static_cast<uint64_t>(bytes)),
           " for weights");
    }
    mapped_ = static_cast<uint8_t*>(memory);
#if defined(MADV_HUGEPAGE)
    ::madvise(begin(), static_cast<size_t>(bytes_), MADV_HUGEPAGE);
#endif
  }
  ~Chunk() { ::munmap(mapped_, mapped_bytes()); }
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  uint8_t* begin() const { return align_up(mapped_, kHugePage); }
  int64_t bytes() const { return bytes_; }

  // Gives the pages that lie wholly within back to the system.
  static void forget(uint8_t* from, int64_t bytes) {
    uint8_t* first = align_up(from, kPage);
    const int64_t whole = (from + bytes - first) / kPage * kPage;
    if (whole > 0) ::madvise(first, static_cast<size_t>(whole), MADV_DONTNEED);
  }

 private:
  size_t mapped_bytes() const { return static_cast<size_t>(bytes_ + kHugePage); }

  int64_t bytes_;
  uint8_t* mapped_;
};

std::shared_ptr<uint8_t> WeightMemory::allocate(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  const int64_t needed = round_up(bytes, kCacheLine);
  if (!chunk_ || chunk_->bytes() - used_ < needed) {
    chunk_ = std::make_shared<Chunk>(std::max(needed, kChunkBytes));
    used_ = 0;
  }
  uint8_t* memory = chunk_->begin() + used_;
  used_ += needed;
  return {memory, [chunk = chunk_, bytes](uint8_t* from) { Chunk::forget(from, bytes); }};
}

}  // namespace realm::cpu
