// The switch between two stacks of one thread: a dozen instructions of our own on x86-64 and on
// Arm, where macOS and musl have nothing that serves; elsewhere the C library's contexts, slower.
#pragma once

#include <cstddef>

#if defined(__x86_64__) || defined(__aarch64__)
// Saves the registers that a call preserves on the old stack and takes them from the new one.
extern "C" void realm_switch_stack(void** old_stack, void* new_stack);
#else
#include <ucontext.h>
#define REALM_HAS_NO_SWITCH
#endif

namespace realm::simt {

// A stack that does not run, as it was left.
struct StackContext {
#if defined(REALM_HAS_NO_SWITCH)
  ucontext_t context;
#else
  void* pointer = nullptr;
#endif
};

// The first switch to the context calls `entry` on that memory; it must not return.
void prepare_stack(StackContext& context, char* memory, size_t bytes, void (*entry)());

inline void switch_stack(StackContext& from, StackContext& to) {
#if defined(REALM_HAS_NO_SWITCH)
  swapcontext(&from.context, &to.context);
#else
  realm_switch_stack(&from.pointer, to.pointer);
#endif
}

}  // namespace realm::simt
