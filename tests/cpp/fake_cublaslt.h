// As much of cuBLASLt as cuda/dense_library.cpp calls, over the host memory of the emulated device:
// a shared library that REALM_CUBLASLT names. It takes descriptions as the real one does, in
// matrices down their columns, and complains of what the real one would not take.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace realm::test {

// What a test may change, and what it may ask.
struct FakeCublasLt {
  bool opens = true, has_a_way = true;
  int status = 0;  // of every product
  int n_products = 0, n_searches = 0, n_alive = 0;
  std::vector<std::string> complaints;
};
__attribute__((visibility("default"))) FakeCublasLt& fake_cublaslt();

}  // namespace realm::test
