# The Metal backend's files, below csrc/, and how they are compiled for the emulated device.
set(realm_metal_host
  metal/attention.cpp metal/device_memory.cpp metal/kernels.cpp metal/lora.cpp metal/metal_backend.cpp
  metal/metal_weight.cpp metal/probe.cpp metal/products.cpp)
# In the order in which one text can hold them.
set(realm_metal_shaders
  include/realm/kv_type.h backend/kinds.h gpu/language.h gpu/kv_page.h gpu/attend_tile.h gpu/lora_work.h
  metal/params.h
  metal/device/language.h metal/device/numbers.h quant/blocks.h metal/codec.h metal/product_rows.h metal/kv_read.h
  metal/attention_tile.h
  metal/attention_flash.metal metal/attention_plain.metal metal/attention_split.metal metal/choose.metal
  metal/elementwise.metal metal/embed.metal metal/experts.metal metal/kv_store.metal metal/lora.metal
  metal/matrix.metal metal/norm.metal metal/vector_float.metal metal/vector_quant.metal)

# The shader source as one text, metal/kernels.metal below `folder`, and in `out` the C++ file that holds it as a
# string. To be called in the folder of the target that compiles that file.
function(realm_metal_embedded_source root folder out)
  list(TRANSFORM realm_metal_shaders PREPEND ${root}/ OUTPUT_VARIABLE shaders)
  list(JOIN realm_metal_shaders "," files)
  set(text ${folder}/metal/kernels.metal)
  set(cpp ${folder}/metal/kernel_source.cpp)
  set(script ${root}/metal/embed_source.cmake)
  add_custom_command(OUTPUT ${text} ${cpp}
    COMMAND ${CMAKE_COMMAND} -DROOT=${root} -DFILES=${files} -DTEXT=${text} -DCPP=${cpp} -P ${script}
    DEPENDS ${shaders} ${script} VERBATIM)
  set(${out} ${cpp} PARENT_SCOPE)
endfunction()

# The files of the backend on the emulated device, as absolute paths in `out`; their target includes `folder`.
function(realm_metal_emulated_sources root folder out)
  realm_metal_embedded_source(${root} ${folder} embedded)
  list(TRANSFORM realm_metal_host PREPEND ${root}/ OUTPUT_VARIABLE host)
  set(kernels ${root}/metal/emulation/kernels.cpp)
  # Kernels read memory as they do on a device. -O2 also where the rest is not
  # optimized.
  set_source_files_properties(${kernels} PROPERTIES
    COMPILE_OPTIONS "-O2;-fno-strict-aliasing;-I${root}/metal/emulation;-I${folder}"
    OBJECT_DEPENDS ${folder}/metal/kernels.metal)
  set(${out} ${host} ${embedded} ${kernels} ${root}/metal/emulation/signatures.cpp
    ${root}/metal/emulation/runtime.cpp PARENT_SCOPE)
endfunction()
