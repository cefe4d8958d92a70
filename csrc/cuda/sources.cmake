# The CUDA backend's files, below csrc/, and how they are compiled for the emulated device.
set(realm_cuda_host
  cuda/attention.cpp cuda/cuda_backend.cpp cuda/dense_library.cpp cuda/device_memory.cpp
  cuda/host_tables.cpp cuda/launch_counts.cpp cuda/lora.cpp cuda/pack_weight.cpp cuda/probe.cpp cuda/products.cpp
  cuda/step_graphs.cpp)
set(realm_cuda_kernels
  cuda/attention_flash.cu cuda/attention_plain.cu cuda/attention_split.cu cuda/choose.cu
  cuda/decode_brain.cu cuda/elementwise.cu cuda/embed.cu cuda/experts.cu cuda/kv_store.cu cuda/lora.cu
  cuda/matrix_half.cu cuda/matrix_quant.cu cuda/norm.cu cuda/quantize.cu cuda/shortlist.cu
  cuda/vector_float.cu cuda/vector_quant.cu)

# The files of the backend on the emulated device, as absolute paths in `out`; kernels are C++
# there. To be called in the folder of the target that compiles them.
function(realm_cuda_emulated_sources root out)
  list(TRANSFORM realm_cuda_host PREPEND ${root}/ OUTPUT_VARIABLE host)
  list(TRANSFORM realm_cuda_kernels PREPEND ${root}/ OUTPUT_VARIABLE kernels)
  # Kernels read memory as the words that instructions move, as they do on a device. -O2 also where
  # the rest is not optimized: a step of a model is some ten million emulated instructions.
  set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX
    COMPILE_OPTIONS "-O2;-fno-strict-aliasing")
  set(${out} ${host} ${kernels} ${root}/cuda/emulation/memory.cpp ${root}/cuda/emulation/runtime.cpp
    PARENT_SCOPE)
endfunction()
