// Memory in whole pages, huge ones where the system gives them, committed as it is written. One
// file per system implements it: pages_posix.cpp, pages_windows.cpp.
#pragma once

#include <cstdint>

namespace realm::cpu {

constexpr uint64_t kHugePage = 2 << 20;

class Pages {
 public:
  // `what` is for the error: throws kOutOfMemory.
  Pages(uint64_t bytes, const char* what);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  uint8_t* begin() const { return begin_; }  // of a huge page, if there are any
  uint64_t bytes() const { return bytes_; }

  // Gives the pages that lie wholly within back to the system. What they held is lost.
  static void forget(uint8_t* from, uint64_t bytes);

 private:
  uint64_t bytes_;
  void* mapped_;
  uint8_t* begin_;
};

}  // namespace realm::cpu
