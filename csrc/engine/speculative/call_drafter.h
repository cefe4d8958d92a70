// Guesses by a function of the embedding program, under a time limit. The function runs on a thread
// of its own, as one that does not return cannot be stopped: its request then goes on plainly, and
// so do others that would have to wait for it. The engine never waits longer than the limit.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "engine/speculative/drafter.h"

namespace realm {

// Tokens of prompt and output, and how many guesses are wanted, to guesses. Called by one thread at
// a time; may throw. It is destroyed on the thread that called it, maybe after the drafter.
using GuessCall =
    std::function<std::vector<int32_t>(std::vector<int32_t> tokens, int64_t n_wanted)>;

class CallDrafter final : public Drafter {
 public:
  CallDrafter(GuessCall call, std::chrono::milliseconds limit);
  ~CallDrafter() override;

  void propose(std::span<const DraftRequest> requests, std::span<Draft> drafts) override;
  void settle(uint64_t id, size_t n_accepted) noexcept override;
  void forget(uint64_t id) noexcept override;

 private:
  struct Desk;  // what the two threads share; outlives the drafter while the function runs

  void ask(const DraftRequest& request, Draft& draft);

  const std::chrono::milliseconds limit_;
  const std::shared_ptr<Desk> desk_;
};

}  // namespace realm
