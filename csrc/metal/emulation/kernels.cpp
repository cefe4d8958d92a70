// The shader source as C++: the very text that a Metal device would compile (kKernelSource), but
// for its attributes, which the runtime reads from that text (signatures.h); over metal_stdlib of
// this folder. What it declares it declares for itself, so nothing of the host's that it repeats
// may be seen here.
#include "metal/emulation/invoke.h"

#define __METAL_VERSION__ 300
#include "metal/kernels.metal"

namespace realm::simt {

const std::vector<NamedKernel>& compiled_kernels() {
  static const std::vector<NamedKernel> kernels = {
#define REALM_PLAIN(name) {#name, invoker(&::name)}
      REALM_PLAIN(add_kernel),
      REALM_PLAIN(scale_kernel),
      REALM_PLAIN(softcap_kernel),
      REALM_PLAIN(activate_kernel),
      REALM_PLAIN(gate_kernel),
      REALM_PLAIN(scale_by_sigmoid_kernel),
      REALM_PLAIN(gather_kernel),
      REALM_PLAIN(rotate_kernel),
      REALM_PLAIN(rms_norm_kernel),
      REALM_PLAIN(layer_norm_kernel),
      REALM_PLAIN(kv_store_kernel),
      REALM_PLAIN(attention_plain_kernel),
      REALM_PLAIN(attention_merge_kernel),
      REALM_PLAIN(route_kernel),
      REALM_PLAIN(sort_choices_kernel),
      REALM_PLAIN(scatter_rows_kernel),
      REALM_PLAIN(combine_kernel),
      REALM_PLAIN(lora_shrink_kernel),
      REALM_PLAIN(lora_look_up_kernel),
      REALM_PLAIN(lora_expand_kernel),
      REALM_PLAIN(choose_largest_kernel),
#undef REALM_PLAIN
#define REALM_FLOAT(suffix, Element)                              \
  {"embed_" suffix, invoker(&embed_values_kernel<Element>)},      \
      {"vector_" suffix, invoker(&vector_float_kernel<Element>)}, \
      {"matrix_" suffix, invoker(&matrix_kernel<PlainRows<Element>>)}
      REALM_FLOAT("f32", FloatElement),
      REALM_FLOAT("f16", HalfElement),
      REALM_FLOAT("bf16", BrainElement),
#undef REALM_FLOAT
#define REALM_QUANTIZED(suffix, Codec)                          \
  {"embed_" suffix, invoker(&embed_groups_kernel<Codec>)},      \
      {"vector_" suffix, invoker(&vector_quant_kernel<Codec>)}, \
      {"matrix_" suffix, invoker(&matrix_kernel<CodedRows<Codec>>)}
      REALM_QUANTIZED("q4_0", CodecQ4_0),
      REALM_QUANTIZED("q8_0", CodecQ8_0),
      REALM_QUANTIZED("q4_k", CodecQ4_K),
      REALM_QUANTIZED("q5_k", CodecQ5_K),
      REALM_QUANTIZED("q6_k", CodecQ6_K),
#undef REALM_QUANTIZED
      {"attention_flash_64", invoker(&attention_flash_kernel<64>)},
      {"attention_flash_96", invoker(&attention_flash_kernel<96>)},
      {"attention_flash_128", invoker(&attention_flash_kernel<128>)},
      {"attention_flash_256", invoker(&attention_flash_kernel<256>)},
      {"attention_split_64", invoker(&attention_split_kernel<64>)},
      {"attention_split_96", invoker(&attention_split_kernel<96>)},
      {"attention_split_128", invoker(&attention_split_kernel<128>)},
      {"attention_split_256", invoker(&attention_split_kernel<256>)},
  };
  return kernels;
}

}  // namespace realm::simt
