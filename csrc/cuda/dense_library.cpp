#include "cuda/dense_library.h"

#include <cstdlib>
#include <dlfcn.h>

#include "base/error.h"

namespace realm::cuda {

namespace {

// The numbers of cublasLt.h that are used, the same in every version from 11.4 on.
enum : int32_t { kTransposeA = 3 };                          // of a description
enum : int32_t { kMostWorkspace = 1, kFirstAlignment = 5 };  // of a preference: of A, B, C and D
enum : int32_t { kFloat32 = 0, kFloat16 = 2, kBrain16 = 14, kComputeFloat32 = 68 };
constexpr int32_t kTransposed = 1;

constexpr size_t kMostPlans = 128;  // prompts come in many lengths

// cublasLtMatmulHeuristicResult_t
struct Way {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

}  // namespace

// The file stays open for the life of the process: to load it takes half a second, and to unload it
// while a driver knows of it is nobody's habit.
struct LibraryCalls {
  void* file = nullptr;
  std::string missing;  // the first name that the file does not have

  int (*create)(void**);
  int (*destroy)(void*);
  size_t (*version)();
  int (*description_create)(void**, int compute, int scale);
  int (*description_destroy)(void*);
  int (*description_set)(void*, int attribute, const void* value, size_t bytes);
  int (*layout_create)(void**, int type, uint64_t rows, uint64_t cols, int64_t stride);
  int (*layout_destroy)(void*);
  int (*preference_create)(void**);
  int (*preference_destroy)(void*);
  int (*preference_set)(void*, int attribute, const void* value, size_t bytes);
  int (*find_ways)(void* handle, void* description, void* a, void* b, void* c, void* d,
                   void* preference, int wanted, Way* found, int* n_found);
  int (*multiply)(void* handle, void* description, const void* alpha, const void* a, void* a_layout,
                  const void* b, void* b_layout, const void* beta, const void* c, void* c_layout,
                  void* d, void* d_layout, const uint64_t* algorithm, void* workspace, size_t bytes,
                  Stream stream);

  explicit LibraryCalls(void* opened) : file(opened) {
    find(create, "cublasLtCreate");
    find(destroy, "cublasLtDestroy");
    find(version, "cublasLtGetVersion");
    find(description_create, "cublasLtMatmulDescCreate");
    find(description_destroy, "cublasLtMatmulDescDestroy");
    find(description_set, "cublasLtMatmulDescSetAttribute");
    find(layout_create, "cublasLtMatrixLayoutCreate");
    find(layout_destroy, "cublasLtMatrixLayoutDestroy");
    find(preference_create, "cublasLtMatmulPreferenceCreate");
    find(preference_destroy, "cublasLtMatmulPreferenceDestroy");
    find(preference_set, "cublasLtMatmulPreferenceSetAttribute");
    find(find_ways, "cublasLtMatmulAlgoGetHeuristic");
    find(multiply, "cublasLtMatmul");
  }

 private:
  template <class Call>
  void find(Call& call, const char* name) {
    call = reinterpret_cast<Call>(dlsym(file, name));
    if (!call && missing.empty()) missing = name;
  }
};

namespace {

uint32_t alignment(const void* at) {
  const auto address = reinterpret_cast<uintptr_t>(at);
  uint32_t bytes = 1;
  while (bytes < 256 && address % (2 * bytes) == 0) bytes *= 2;
  return bytes;
}

void require(int status, const char* what) {
  if (status != 0) fail(ErrorCode::kDevice, "cuBLASLt: ", what, ": status ", status);
}

// What it answers to a product that it does not do, of which nothing has run: a lack of resources,
// a value or a processor it does not take, or plainly "not supported".
bool is_refusal(int status) {
  return status == 3 || status == 7 || status == 8 || status == 15;
}

bool is_named() {
  const char* named = std::getenv("REALM_CUBLASLT");
  return named && *named && std::string(named) != "off";
}

// Null with the reason. A name that the environment gives must be good.
std::unique_ptr<LibraryCalls> open_calls(std::string& reason) {
  const char* named = std::getenv("REALM_CUBLASLT");
  if (named && std::string(named) == "off") {
    reason = "REALM_CUBLASLT is off";
    return nullptr;
  }
  std::vector<std::string> files = dense_library_files();
  if (is_named()) files = {named};
  reason = "this device has no library of its own";
  for (const std::string& name : files) {
    void* file = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!file) {
      const char* why = dlerror();
      reason = why ? why : "cannot be opened";
      continue;
    }
    auto calls = std::make_unique<LibraryCalls>(file);
    if (calls->missing.empty()) return calls;
    reason = concat(name, " has no ", calls->missing);
  }
  if (is_named()) fail(ErrorCode::kDevice, "REALM_CUBLASLT is ", quoted(named), ": ", reason);
  return nullptr;
}

std::string version_of(const LibraryCalls& calls) {
  const size_t version = calls.version();
  return concat("cuBLASLt ", version / 10000, ".", version % 10000 / 100, ".", version % 100);
}

}  // namespace

struct DenseLibrary::Plan {
  const LibraryCalls& calls;
  void *description = nullptr, *weight = nullptr, *in = nullptr, *out = nullptr;
  Way way{};
  bool has_way = false;

  explicit Plan(const LibraryCalls& of) : calls(of) {}
  ~Plan() {
    for (void* layout : {weight, in, out}) {
      if (layout) calls.layout_destroy(layout);
    }
    if (description) calls.description_destroy(description);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
};

DenseLibrary::DenseLibrary(std::unique_ptr<LibraryCalls> calls) : calls_(std::move(calls)) {}

DenseLibrary::~DenseLibrary() {
  plans_.clear();
  if (handle_) calls_->destroy(handle_);
}

std::unique_ptr<DenseLibrary> DenseLibrary::open(std::string& reason) {
  auto calls = open_calls(reason);
  if (!calls) return nullptr;
  std::unique_ptr<DenseLibrary> library(new DenseLibrary(std::move(calls)));
  const int status = library->calls_->create(&library->handle_);
  if (status == 0) return library;
  // One that was only found may be too new for the driver.
  reason = concat(library->version(), " does not open on this device: status ", status);
  if (is_named()) fail(ErrorCode::kDevice, "REALM_CUBLASLT: ", reason);
  library->handle_ = nullptr;
  return nullptr;
}

std::string DenseLibrary::version() const {
  return version_of(*calls_);
}

// The library counts matrices down their columns, where our rows are its columns: out^T [N, T] is
// weight^T transposed, [K, N] down columns, times in^T, [K, T].
DenseLibrary::Plan& DenseLibrary::plan(const Product& p) {
  const Alignments aligned{alignment(p.weight), alignment(p.in), alignment(p.out),
                           alignment(p.out)};
  const Shape shape{p.n_in,      p.n_out,      p.n_cols, p.weight_stride,
                    p.in_stride, p.out_stride, p.brain,  aligned};
  const auto known = plans_.find(shape);
  if (known != plans_.end()) return *known->second;
  if (plans_.size() >= kMostPlans) plans_.clear();
  auto plan = std::make_unique<Plan>(*calls_);
  const auto n = [](int64_t value) { return static_cast<uint64_t>(value); };
  const int type = p.brain ? kBrain16 : kFloat16;
  require(calls_->description_create(&plan->description, kComputeFloat32, kFloat32), "describing");
  require(calls_->description_set(plan->description, kTransposeA, &kTransposed, sizeof(int32_t)),
          "transposing");
  require(calls_->layout_create(&plan->weight, type, n(p.n_cols), n(p.n_out), p.weight_stride),
          "laying out a weight");
  require(calls_->layout_create(&plan->in, type, n(p.n_cols), n(p.n_in), p.in_stride),
          "laying out an input");
  require(calls_->layout_create(&plan->out, kFloat32, n(p.n_out), n(p.n_in), p.out_stride),
          "laying out an output");
  find_way(*plan, aligned);
  return *plans_.emplace(shape, std::move(plan)).first->second;
}

// Unless it is told of them, the library takes addresses for multiples of 256.
void DenseLibrary::find_way(Plan& plan, const Alignments& aligned) const {
  void* preference = nullptr;
  require(calls_->preference_create(&preference), "making a preference");
  const uint64_t workspace = kWorkspaceBytes;
  int status = calls_->preference_set(preference, kMostWorkspace, &workspace, sizeof workspace);
  for (size_t i = 0; i < aligned.size() && status == 0; ++i) {
    status = calls_->preference_set(preference, kFirstAlignment + static_cast<int>(i), &aligned[i],
                                    sizeof aligned[i]);
  }
  int n_found = 0;
  if (status == 0) {
    status = calls_->find_ways(handle_, plan.description, plan.weight, plan.in, plan.out, plan.out,
                               preference, 1, &plan.way, &n_found);
  }
  calls_->preference_destroy(preference);
  plan.has_way = status == 0 && n_found > 0 && plan.way.state == 0;
}

bool DenseLibrary::multiply(const Product& p, void* workspace, Stream stream) {
  Plan& chosen = plan(p);
  if (!chosen.has_way) return false;
  const float one = 1, zero = 0;
  const int status = calls_->multiply(handle_, chosen.description, &one, p.weight, chosen.weight,
                                      p.in, chosen.in, &zero, p.out, chosen.out, p.out, chosen.out,
                                      chosen.way.algorithm, workspace, kWorkspaceBytes, stream);
  chosen.has_way = !is_refusal(status);
  if (!chosen.has_way) return false;
  require(status, "multiplying");
  check_launch("cublasLtMatmul");
  return true;
}

std::string describe_dense_library() {
  try {
    std::string reason;
    const auto calls = open_calls(reason);
    return calls ? version_of(*calls) : concat("no cuBLASLt: ", reason);
  } catch (const Error& error) {
    return concat("no cuBLASLt: ", error.what());
  }
}

}  // namespace realm::cuda
