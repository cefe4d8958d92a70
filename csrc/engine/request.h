// A request as its caller holds it: from submission to the end of its answer. The engine's thread
// writes pieces of the answer into it, any other thread takes them out, waits, or cancels. It stays
// readable when the engine is gone.
//
// Every function may be called from any thread; in a child process after fork they throw kForked
// instead of waiting for threads that do not exist there.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/process.h"
#include "engine/flow.h"
#include "engine/generation.h"
#include "engine/mailbox.h"
#include "kv/prefix_index.h"
#include "model/adapter_set.h"
#include "realm/kv_type.h"
#include "realm/sampling_params.h"
#include "realm/speculation_report.h"
#include "realm/speculative_config.h"

namespace realm {

class Drafter;
class Inbox;
using Clock = std::chrono::steady_clock;

struct RequestOptions {
  std::vector<int32_t> prompt;
  SamplingParams params;
  // Whose request it is; null for nobody in particular.
  std::shared_ptr<Flow> flow{};
  // Within its flow, higher goes first, and may push running requests of lower priority back into
  // the queue.
  int32_t priority = 0;
  // Ends the answer as it stands, with kDeadline, this long after submission.
  std::optional<int64_t> deadline_ms;
  // Who may reuse this request's keys and values: requests of the same namespace alone. A flow has
  // its own, which goes before this one.
  Namespace space{};
  // The adapters that apply, null for none, and their identity, zeros for none: part of the prefix
  // key. The engine sets the identity of a set, and takes the set: options() of a request has none.
  std::shared_ptr<const AdapterSet> adapter_set = nullptr;
  Sha256Digest adapters{};
  // Guesses tokens ahead; without one the request is decoded plainly.
  std::optional<SpeculativeConfig> speculative;
  // With DrafterKind::kCustom: used on the engine's thread by all requests that name it, and kept
  // until they have ended.
  std::shared_ptr<Drafter> drafter;
};

enum class RequestState { kWaiting, kRunning, kFinished };

const char* name_of(RequestState state);

// Part of an answer: what has come since the piece before.
struct Piece {
  std::vector<int32_t> tokens{};
  std::string text{};                // whole characters; empty without a vocabulary
  std::vector<Logprobs> logprobs{};  // of each token, if asked for
  std::optional<Finish> finish{};    // with the last piece

  bool empty() const { return tokens.empty() && text.empty() && !finish; }
};

// What became of a request so far. Times are nanoseconds since submission, 0 if not yet.
struct RequestReport {
  RequestState state = RequestState::kWaiting;
  std::optional<Finish> finish;
  int64_t n_prompt = 0, n_generated = 0;
  int64_t n_cached = 0;  // tokens of the prompt that were found in the cache when it first started
  int64_t n_preempted = 0;  // times it gave way to others
  int64_t started_ns = 0, first_token_ns = 0, finished_ns = 0;
  uint64_t finished_step = 0;  // the engine's count of steps when its blocks were given back
  uint64_t logits_hash = 0;    // with EngineOptions::record_logits_hash
  SpeculationReport speculation;
};

// Which computation a snapshot belongs to.
struct EngineIdentity {
  Sha256Digest model{};
  KvType kv_type = KvType::kF16;
};

class Request : public std::enable_shared_from_this<Request> {
 public:
  // What a snapshot brings back.
  struct Restored {
    std::vector<int32_t> tokens;  // of the answer
    std::vector<Logprobs> logprobs;
    uint64_t logits_hash = 0;
  };

  // Made by Engine::submit() and resume(); `options` are validated and have a seed. The mailbox may
  // be null.
  Request(uint64_t id, RequestOptions options, Restored restored, const EngineIdentity& engine,
          std::shared_ptr<Inbox> inbox, std::shared_ptr<Mailbox> mailbox);

  uint64_t id() const { return id_; }
  uint64_t seed() const { return *options_.params.seed; }
  const RequestOptions& options() const { return options_; }
  Clock::time_point submitted_at() const { return submitted_at_; }

  // Ends the answer soon, within one step, with kCancelled and what it has so far. No effect on an
  // answer that has ended.
  void cancel();

  RequestState state() const { return report().state; }
  RequestReport report() const;

  // What has come since the last call, perhaps nothing. A resumed request begins with what it had.
  Piece take();
  // Waits until take() has something; false if nothing came in time, or nothing more will come.
  bool wait(std::chrono::milliseconds timeout) const;
  // Waits for the end of the answer; false if it did not come in time.
  bool wait_end(std::chrono::milliseconds timeout) const;

  // Everything that a request of the same model needs to go on from here, in our own format
  // (engine/snapshot.h). Throws kInvalidRequest once the answer has ended.
  std::vector<std::byte> snapshot() const;

  // ---- for the engine's thread
  bool is_cancelled() const {
    return cancelled_.load(std::memory_order_relaxed) || (flow() && flow()->is_closed());
  }
  Flow* flow() const { return options_.flow.get(); }
  // What it counts for in its flow. Set before it is posted.
  void set_claim(const FlowClaim& claim) { claim_ = claim; }
  const FlowClaim& claim() const { return claim_; }
  const Restored& restored() const { return restored_; }
  // The adapters of this request, which leave with it from the engine: a request that somebody
  // keeps after its answer keeps no adapter. Set before it is posted, taken once.
  void give_adapters(std::shared_ptr<const AdapterSet> set) { adapter_set_ = std::move(set); }
  std::shared_ptr<const AdapterSet> take_adapters() { return std::move(adapter_set_); }
  void note_started(int64_t n_cached);
  void note_preempted();
  // Gives out what is new; a piece with a finish is the last.
  void emit(Piece piece, uint64_t logits_hash);
  // Ends it with kOutOfMemory, using none.
  void end_without_memory() noexcept;
  void note_speculation(const SpeculationReport& report);
  void note_finished_step(uint64_t step) { finished_step_ = step; }

 private:
  friend class Mailbox;

  int64_t elapsed_ns() const;
  void append(Piece& piece);
  std::shared_ptr<Mailbox> finish(Finish&& finish, Finish&& copy) noexcept;

  const uint64_t id_;
  const RequestOptions options_;
  FlowClaim claim_;
  std::shared_ptr<const AdapterSet> adapter_set_;
  const Restored restored_;
  const EngineIdentity engine_;
  const std::shared_ptr<Inbox> inbox_;
  const Clock::time_point submitted_at_ = Clock::now();
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> in_mailbox_{false};
  std::shared_ptr<Request> next_in_mailbox_;  // the mailbox's
  uint64_t finished_step_ = 0;                // written before the last piece is emitted

  LeftToOwner<std::condition_variable> changed_;
  mutable std::mutex mutex_;
  Piece pending_;
  RequestReport report_;
  std::vector<int32_t> answer_;     // all tokens emitted
  std::vector<Logprobs> logprobs_;  // of all of them
  std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace realm
