#include "gpu/emulation/fiber.h"

#include <cstdint>
#include <cstdlib>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(REALM_EMULATION_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(REALM_EMULATION_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__)
// Saves the registers that a call preserves on the old stack and takes them from the new one.
extern "C" void realm_switch_stack(void** old_stack, void* new_stack);
asm(R"(
.text
.globl realm_switch_stack
.hidden realm_switch_stack
.type realm_switch_stack,@function
realm_switch_stack:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");
#endif

namespace realm::simt {

namespace {

constexpr size_t kStackBytes = 64 << 10;

// Of the thread that runs the fibers.
struct Home {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  const void* stack_bottom = nullptr;
  size_t stack_bytes = 0;
  void* tsan_fiber = nullptr;
};

Home home;

}  // namespace

struct Fiber::Context {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  void* fake_stack = nullptr;
  void* tsan_fiber = nullptr;
};

Fiber::Fiber() : stack_(new char[kStackBytes]), context_(std::make_unique<Context>()) {}

Fiber::~Fiber() {
#if defined(REALM_EMULATION_TSAN)
  if (context_->tsan_fiber) __tsan_destroy_fiber(context_->tsan_fiber);
#endif
}

void Fiber::prepare(void (*entry)()) {
#if defined(__x86_64__)
  auto top = (reinterpret_cast<uintptr_t>(stack_.get()) + kStackBytes) & ~uintptr_t{63};
  auto** slot = reinterpret_cast<void**>(top);
  *--slot = nullptr;  // the return address that entry() would use, at the alignment of a call
  *--slot = reinterpret_cast<void*>(entry);
  context_->stack_pointer = slot - 6;  // six registers, whatever they hold
#else
  getcontext(&context_->context);
  context_->context.uc_stack.ss_sp = stack_.get();
  context_->context.uc_stack.ss_size = kStackBytes;
  context_->context.uc_link = nullptr;
  makecontext(&context_->context, entry, 0);
#endif
  context_->fake_stack = nullptr;
#if defined(REALM_EMULATION_ASAN)
  ASAN_UNPOISON_MEMORY_REGION(stack_.get(), kStackBytes);  // of a fiber that was dropped
#endif
#if defined(REALM_EMULATION_TSAN)
  if (!context_->tsan_fiber) context_->tsan_fiber = __tsan_create_fiber(0);
#endif
}

void Fiber::resume() {
#if defined(REALM_EMULATION_TSAN)
  home.tsan_fiber = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(context_->tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(REALM_EMULATION_ASAN)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack_.get(), kStackBytes);
#endif
#if defined(__x86_64__)
  realm_switch_stack(&home.stack_pointer, context_->stack_pointer);
#else
  swapcontext(&home.context, &context_->context);
#endif
#if defined(REALM_EMULATION_ASAN)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void Fiber::arrive() {
#if defined(REALM_EMULATION_ASAN)
  __sanitizer_finish_switch_fiber(context_->fake_stack, &home.stack_bottom, &home.stack_bytes);
#endif
}

void Fiber::pause() {
#if defined(REALM_EMULATION_TSAN)
  __tsan_switch_to_fiber(home.tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(REALM_EMULATION_ASAN)
  __sanitizer_start_switch_fiber(&context_->fake_stack, home.stack_bottom, home.stack_bytes);
#endif
#if defined(__x86_64__)
  realm_switch_stack(&context_->stack_pointer, home.stack_pointer);
#else
  swapcontext(&context_->context, &home.context);
#endif
  arrive();
}

void Fiber::leave() {
#if defined(REALM_EMULATION_TSAN)
  __tsan_switch_to_fiber(home.tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(REALM_EMULATION_ASAN)
  __sanitizer_start_switch_fiber(nullptr, home.stack_bottom, home.stack_bytes);
#endif
#if defined(__x86_64__)
  realm_switch_stack(&context_->stack_pointer, home.stack_pointer);
#else
  swapcontext(&context_->context, &home.context);
#endif
  std::abort();  // nobody resumes a fiber that left
}

}  // namespace realm::simt
