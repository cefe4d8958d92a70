#include "gpu/emulation/stack_switch.h"

#include <cstdint>

// What a call preserves is kept on the stack that is left.
#if defined(__x86_64__)
asm(R"(
.text
.globl realm_switch_stack
realm_switch_stack:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov (%rsi), %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl realm_switch_stack
.p2align 2
realm_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  ldr x9, [x1]
  mov sp, x9
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
#endif

namespace realm::simt {

// Registers start with whatever the memory holds, but for those that say where to go.
void prepare_stack(StackContext& context, char* memory, size_t bytes, void (*entry)()) {
#if defined(REALM_HAS_NO_SWITCH)
  getcontext(&context.context);
  context.context.uc_stack.ss_sp = memory;
  context.context.uc_stack.ss_size = bytes;
  context.context.uc_link = nullptr;
  makecontext(&context.context, entry, 0);
#else
  const uintptr_t top = (reinterpret_cast<uintptr_t>(memory) + bytes) & ~uintptr_t{63};
  auto** slot = reinterpret_cast<void**>(top);
#if defined(__x86_64__)
  *--slot = nullptr;  // the return address that entry() would use, at the alignment of a call
  *--slot = reinterpret_cast<void*>(entry);
  context.pointer = slot - 6;
#else
  slot -= 20;
  slot[10] = nullptr;  // x29, the frame above
  slot[11] = reinterpret_cast<void*>(entry);
  context.pointer = slot;
#endif
#endif
}

}  // namespace realm::simt
