#include "metal/kernels.h"

namespace realm::metal {

namespace {

using namespace msl;

constexpr uint32_t kNormShared = kNormThreads / kSimd * sizeof(float);
constexpr uint32_t kPlainShared = kPlainSimds * (gpu::kMaxHeadWidth + 2 * kSimd) * sizeof(float);
constexpr uint32_t kMatrixShared = (kMatrixRows + kMatrixCols) * kMatrixDepth * sizeof(float);
static_assert(kMatrixRows * kMatrixCols * sizeof(float) <= kMatrixShared);
constexpr uint32_t kChooseShared = kChooseThreads / kSimd * 3 * sizeof(float);

constexpr char kNormBindings[] = "const float*, const float*, float*, NormParams";
constexpr char kLayerNormBindings[] =
    "const float*, const float*, const float*, float*, NormParams";
constexpr char kEmbedBindings[] = "const uint8_t*, const int*, float*, EmbedParams";
constexpr char kProductBindings[] =
    "const uint8_t*, const float*, const float*, const int*, float*, ProductParams";
constexpr char kTileBindings[] =
    "const uint8_t*, const int*, const AttendTile*, const float*, float*, AttendParams";

constexpr KernelInfo element(const char* name, const char* bindings, uint32_t constants_bytes) {
  return {name, bindings, kElementThreads, 0, constants_bytes};
}
constexpr KernelInfo embed(const char* name) {
  return {name, kEmbedBindings, kEmbedThreads, 0, sizeof(EmbedParams)};
}
constexpr KernelInfo vector(const char* name) {
  return {name, kProductBindings, kVectorSimds * kSimd, 0, sizeof(ProductParams)};
}
constexpr KernelInfo matrix(const char* name) {
  return {name, kProductBindings, kMatrixThreads, kMatrixShared, sizeof(ProductParams)};
}
constexpr KernelInfo tiled(const char* name, int width, int n_simds) {
  return {name, kTileBindings, static_cast<uint32_t>(n_simds * kSimd),
          static_cast<uint32_t>(attend_shared_bytes(width, n_simds)), sizeof(AttendParams)};
}

constexpr KernelInfo kTable[] = {
    element("add_kernel", "float*, const float*, AddParams", sizeof(AddParams)),
    element("scale_kernel", "float*, ScaleParams", sizeof(ScaleParams)),
    element("softcap_kernel", "float*, SoftcapParams", sizeof(SoftcapParams)),
    element("activate_kernel", "float*, ActivateParams", sizeof(ActivateParams)),
    element("gate_kernel", "const float*, const float*, float*, ActivateParams",
            sizeof(ActivateParams)),
    element("scale_by_sigmoid_kernel", "float*, const float*, RowsParams", sizeof(RowsParams)),
    element("gather_kernel", "const float*, const int*, float*, RowsParams", sizeof(RowsParams)),
    element("rotate_kernel", "float*, const float*, const float*, RotateParams",
            sizeof(RotateParams)),
    {"rms_norm_kernel", kNormBindings, kNormThreads, kNormShared, sizeof(NormParams)},
    {"rms_norm_kernel", kNormBindings, kSimd, kNormShared, sizeof(NormParams)},
    {"layer_norm_kernel", kLayerNormBindings, kNormThreads, kNormShared, sizeof(NormParams)},
    {"layer_norm_kernel", kLayerNormBindings, kSimd, kNormShared, sizeof(NormParams)},
    embed("embed_f32"),
    embed("embed_f16"),
    embed("embed_bf16"),
    embed("embed_q4_0"),
    embed("embed_q8_0"),
    embed("embed_q4_k"),
    embed("embed_q5_k"),
    embed("embed_q6_k"),
    vector("vector_f32"),
    vector("vector_f16"),
    vector("vector_bf16"),
    vector("vector_q4_0"),
    vector("vector_q8_0"),
    vector("vector_q4_k"),
    vector("vector_q5_k"),
    vector("vector_q6_k"),
    matrix("matrix_f32"),
    matrix("matrix_f16"),
    matrix("matrix_bf16"),
    matrix("matrix_q4_0"),
    matrix("matrix_q8_0"),
    matrix("matrix_q4_k"),
    matrix("matrix_q5_k"),
    matrix("matrix_q6_k"),
    {"kv_store_kernel", "uint8_t*, const int*, const float*, const float*, KvParams", 2 * kSimd, 0,
     sizeof(KvParams)},
    {"attention_plain_kernel", "const uint8_t*, const int*, const float*, float*, AttendParams",
     kPlainSimds * kSimd, kPlainShared, sizeof(AttendParams)},
    tiled("attention_flash_64", 64, kFlashSimds),
    tiled("attention_flash_96", 96, kFlashSimds),
    tiled("attention_flash_128", 128, kFlashSimds),
    tiled("attention_flash_256", 256, kFlashSimds),
    tiled("attention_split_64", 64, kSplitSimds),
    tiled("attention_split_96", 96, kSplitSimds),
    tiled("attention_split_128", 128, kSplitSimds),
    tiled("attention_split_256", 256, kSplitSimds),
    {"attention_merge_kernel", "const MergeRow*, const float*, float*, AttendParams", kMergeThreads,
     0, sizeof(AttendParams)},
    {"route_kernel", "float*, int*, float*, RouteParams", kExpertThreads, 0, sizeof(RouteParams)},
    {"sort_choices_kernel", "const int*, const int*, int*, int*, int*, SortParams", kExpertThreads,
     0, sizeof(SortParams)},
    element("scatter_rows_kernel", "const float*, const int*, float*, ChoiceParams",
            sizeof(ChoiceParams)),
    element("combine_kernel",
            "const float*, const int*, const int*, const float*, float*, ChoiceParams",
            sizeof(ChoiceParams)),
    {"lora_shrink_kernel",
     "const LoraTask*, const LoraTile*, const int*, const int*, const float*, float*, LoraParams",
     kLoraThreads, 0, sizeof(LoraParams)},
    {"lora_look_up_kernel", "const LoraTask*, const LoraTile*, const int*, const int*, float*",
     kLoraThreads, 0, 0},
    {"lora_expand_kernel",
     "const LoraTask*, const LoraLink*, const LoraChain*, const int*, const int*, const float*",
     kLoraThreads, 0, 0},
    {"choose_largest_kernel", "const float*, int*, ChooseParams", kChooseThreads, kChooseShared,
     sizeof(ChooseParams)},
};

static_assert(sizeof(kTable) / sizeof(kTable[0]) == static_cast<size_t>(Kernel::kCount));

constexpr bool fits_everywhere() {
  for (const KernelInfo& info : kTable)
    if (info.shared_bytes > kThreadgroupBytes || info.threads % kSimd != 0) return false;
  return true;
}
static_assert(fits_everywhere(), "a kernel asks for more threadgroup memory than there is");
static_assert(kFlashSimds * kSimdQueries == gpu::kFlashQueries &&
              kSplitSimds * kSimdQueries == gpu::kSplitQueries);

}  // namespace

const KernelInfo& kernel_info(Kernel kernel) {
  return kTable[static_cast<size_t>(kernel)];
}

}  // namespace realm::metal
