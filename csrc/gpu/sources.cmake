# What the GPU backends share, below csrc/; it belongs to every build, as the step's plan needs no device.
#
# The machine that runs kernels on a processor is compiled once for all emulated backends.
function(realm_gpu_machine_sources root out)
  set(machine fiber.cpp machine.cpp stack_switch.cpp)
  list(TRANSFORM machine PREPEND ${root}/gpu/emulation/)
  # The machine switches stacks: it tells the sanitizers what it does and is not instrumented.
  set(tell "-O2")
  if(REALM_SANITIZE MATCHES "address")
    list(APPEND tell -fno-sanitize=all -DREALM_EMULATION_ASAN)
  elseif(REALM_SANITIZE MATCHES "thread")
    list(APPEND tell -fno-sanitize=all -DREALM_EMULATION_TSAN)
  endif()
  set_source_files_properties(${machine} PROPERTIES COMPILE_OPTIONS "${tell}")
  set(${out} ${machine} PARENT_SCOPE)
endfunction()
