// The vendor's matrix products (cuBLASLt), opened at run time if the machine has them and never
// linked: a build needs nothing of it, and without it our own kernels do the same work. For many
// rows of 16-bit floats it is nearer to the card's peak than mma.sync can be on Hopper.
//
// The bits of a row depend on the shape of the whole product, so a deterministic backend does not
// use it. Which file is opened: REALM_CUBLASLT of the environment, where "off" means none; else
// what the runtime names. Belongs to one backend and its thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "cuda/runtime.h"

namespace realm::cuda {

struct LibraryCalls;  // what is called of it

class DenseLibrary {
 public:
  static constexpr uint64_t kWorkspaceBytes = 32 << 20;  // what its makers advise for Hopper

  // For the device that this thread chose. Null, with the reason, if there is none; throws kDevice
  // if the file that the environment names is none.
  static std::unique_ptr<DenseLibrary> open(std::string& reason);
  ~DenseLibrary();
  DenseLibrary(const DenseLibrary&) = delete;
  DenseLibrary& operator=(const DenseLibrary&) = delete;

  std::string version() const;

  // out[t, n] = sum over k of in[t, k] * weight[n, k]; 16-bit floats, strides in values, sums and
  // results in f32.
  struct Product {
    const void* weight;
    int64_t weight_stride;
    const void* in;
    int64_t in_stride;
    float* out;
    int64_t out_stride;
    int64_t n_in, n_out, n_cols;
    bool brain;
  };
  // False if it has no way for such a product, or refuses it; then nothing has run.
  bool multiply(const Product& product, void* workspace, Stream stream);

 private:
  struct Plan;  // layouts and the way chosen for a shape
  using Alignments = std::array<uint32_t, 4>;
  using Shape = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, bool, Alignments>;

  explicit DenseLibrary(std::unique_ptr<LibraryCalls> calls);
  Plan& plan(const Product& product);
  void find_way(Plan& plan, const Alignments& aligned) const;

  std::unique_ptr<LibraryCalls> calls_;
  void* handle_ = nullptr;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
};

// What doctor() says: "cuBLASLt 13.1.0", or why there is none. Never throws.
std::string describe_dense_library();

}  // namespace realm::cuda
