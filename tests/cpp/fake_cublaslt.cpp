#include "cpp/fake_cublaslt.h"

#include <cstring>
#include <map>

#include "base/half.h"

#define REALM_EXPORT extern "C" __attribute__((visibility("default")))

namespace realm::test {

FakeCublasLt& fake_cublaslt() {
  static FakeCublasLt one;
  return one;
}

namespace {

constexpr int kFloat32 = 0, kFloat16 = 2, kBrain16 = 14, kComputeFloat32 = 68;
constexpr uint64_t kWayOfOurs = 0xca7;

struct Object {
  std::string kind;
  int type = 0;
  uint64_t rows = 0, cols = 0;
  int64_t stride = 0;
  std::map<int, uint64_t> attributes;
};

struct Way {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Way) == 96);  // as in cublasLt.h

int complain(const std::string& what) {
  fake_cublaslt().complaints.push_back(what);
  return 7;  // CUBLAS_STATUS_INVALID_VALUE
}

int make(void** to, Object object) {
  ++fake_cublaslt().n_alive;
  *to = new Object(std::move(object));
  return 0;
}

Object& as(void* object, const char* kind) {
  auto& found = *static_cast<Object*>(object);
  if (found.kind != kind) complain("a " + found.kind + " was given for a " + kind);
  return found;
}

int destroy(void* object, const char* kind) {
  Object* found = &as(object, kind);
  --fake_cublaslt().n_alive;
  delete found;
  return 0;
}

int set(Object& object, int attribute, const void* value, size_t bytes, size_t expected) {
  if (bytes != expected) return complain("an attribute of the wrong size");
  uint64_t word = 0;
  std::memcpy(&word, value, bytes);
  object.attributes[attribute] = word;
  return 0;
}

float element(const Object& layout, const void* data, uint64_t row, uint64_t col) {
  const uint16_t* values = static_cast<const uint16_t*>(data);
  const uint16_t bits = values[col * static_cast<uint64_t>(layout.stride) + row];
  return layout.type == kBrain16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

}  // namespace

REALM_EXPORT int cublasLtCreate(void** handle) {
  if (!fake_cublaslt().opens) return 1;  // CUBLAS_STATUS_NOT_INITIALIZED
  return make(handle, {"handle", 0, 0, 0, 0, {}});
}
REALM_EXPORT int cublasLtDestroy(void* handle) {
  return destroy(handle, "handle");
}
REALM_EXPORT size_t cublasLtGetVersion() {
  return 130102;
}

REALM_EXPORT int cublasLtMatmulDescCreate(void** to, int compute, int scale) {
  if (compute != kComputeFloat32 || scale != kFloat32) return complain("sums are not of floats");
  return make(to, {"description", 0, 0, 0, 0, {}});
}
REALM_EXPORT int cublasLtMatmulDescDestroy(void* description) {
  return destroy(description, "description");
}
REALM_EXPORT int cublasLtMatmulDescSetAttribute(void* description, int attribute, const void* value,
                                                size_t bytes) {
  return set(as(description, "description"), attribute, value, bytes, sizeof(int32_t));
}

REALM_EXPORT int cublasLtMatrixLayoutCreate(void** to, int type, uint64_t rows, uint64_t cols,
                                            int64_t stride) {
  if (stride < static_cast<int64_t>(rows)) return complain("columns overlap");
  return make(to, {"layout", type, rows, cols, stride, {}});
}
REALM_EXPORT int cublasLtMatrixLayoutDestroy(void* layout) {
  return destroy(layout, "layout");
}

REALM_EXPORT int cublasLtMatmulPreferenceCreate(void** to) {
  return make(to, {"preference", 0, 0, 0, 0, {}});
}
REALM_EXPORT int cublasLtMatmulPreferenceDestroy(void* preference) {
  return destroy(preference, "preference");
}
REALM_EXPORT int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute,
                                                      const void* value, size_t bytes) {
  const bool is_workspace = attribute == 1;
  return set(as(preference, "preference"), attribute, value, bytes, is_workspace ? 8 : 4);
}

REALM_EXPORT int cublasLtMatmulAlgoGetHeuristic(void* handle, void* description, void* a, void* b,
                                                void* c, void* d, void* preference, int wanted,
                                                Way* found, int* n_found) {
  as(handle, "handle");
  as(description, "description");
  for (void* layout : {a, b, c, d}) as(layout, "layout");
  Object& asked = as(preference, "preference");
  for (const int attribute : {1, 5, 6, 7, 8}) {
    if (!asked.attributes.count(attribute)) return complain("a preference is left to chance");
  }
  ++fake_cublaslt().n_searches;
  *n_found = fake_cublaslt().has_a_way && wanted > 0;
  if (*n_found == 0) return 0;
  *found = {};
  found->algorithm[0] = kWayOfOurs;
  for (int i = 0; i < 4; ++i) {
    found->algorithm[1 + static_cast<size_t>(i)] = asked.attributes[5 + i];
  }
  return 0;
}

REALM_EXPORT int cublasLtMatmul(void* handle, void* description, const float* alpha, const void* a,
                                void* a_layout, const void* b, void* b_layout, const float* beta,
                                const void*, void*, float* d, void* d_layout,
                                const uint64_t* algorithm, void* workspace, size_t bytes, void*) {
  as(handle, "handle");
  const Object &la = as(a_layout, "layout"), &lb = as(b_layout, "layout"),
               &ld = as(d_layout, "layout");
  const auto& attributes = as(description, "description").attributes;
  if (attributes.count(3) == 0 || attributes.at(3) != 1 || attributes.size() != 1)
    return complain("only the first matrix is to be transposed");
  if (*alpha != 1 || *beta != 0) return complain("factors");
  if (la.type != lb.type || (la.type != kFloat16 && la.type != kBrain16) || ld.type != kFloat32)
    return complain("types");
  if (la.rows != lb.rows || ld.rows != la.cols || ld.cols != lb.cols) return complain("shapes");
  if (algorithm[0] != kWayOfOurs) return complain("a way that was not found here");
  const void* places[] = {a, b, d, d};
  for (size_t i = 0; i < 4; ++i) {
    if (reinterpret_cast<uintptr_t>(places[i]) % algorithm[1 + i] != 0)
      return complain("an address that is not aligned as was said");
  }
  std::memset(workspace, 0xff, bytes);
  if (fake_cublaslt().status != 0) return fake_cublaslt().status;
  for (uint64_t col = 0; col < ld.cols; ++col) {
    for (uint64_t row = 0; row < ld.rows; ++row) {
      float sum = 0;
      for (uint64_t k = 0; k < la.rows; ++k) sum += element(la, a, k, row) * element(lb, b, k, col);
      d[col * static_cast<uint64_t>(ld.stride) + row] = sum;
    }
  }
  ++fake_cublaslt().n_products;
  return 0;
}

}  // namespace realm::test
