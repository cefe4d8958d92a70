#include "engine/engine.h"

#include <atomic>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

#include "base/counter_rng.h"
#include "base/error.h"
#include "base/quiet_thread.h"
#include "engine/engine_loop.h"
#include "engine/inbox.h"
#include "engine/snapshot.h"
#include "engine/speculative/validate_config.h"
#include "engine/validate_params.h"

namespace realm {

namespace {

constexpr int64_t kMaxSequences = 4096, kMaxStepTokens = 1 << 16;
constexpr int64_t kMaxDeadlineMs = 1'000'000'000'000;  // 31 years

const EngineOptions& validated(const EngineOptions& options) {
  REALM_CHECK(options.max_sequences >= 1 && options.max_sequences <= kMaxSequences,
              "max_sequences must be from 1 to ", kMaxSequences, ", is ", options.max_sequences);
  REALM_CHECK(options.max_step_tokens >= 1 && options.max_step_tokens <= kMaxStepTokens,
              "max_step_tokens must be from 1 to ", kMaxStepTokens, ", is ",
              options.max_step_tokens);
  REALM_CHECK(!options.max_queue || *options.max_queue >= 0, "max_queue must not be negative, is ",
              *options.max_queue);
  REALM_CHECK(options.max_wait_ms >= 0 && options.max_wait_ms <= 3'600'000,
              "max_wait_ms must be from 0 to an hour, is ", options.max_wait_ms);
  return options;
}

DraftModel checked(DraftModel draft, const Model& target) {
  check_pair(draft, target);
  return draft;
}

int64_t max_live(const EngineOptions& options) {
  constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
  if (!options.max_queue || *options.max_queue > kNoLimit - options.max_sequences) return kNoLimit;
  return options.max_sequences + *options.max_queue;
}

}  // namespace

struct Engine::Core {
  Core(std::shared_ptr<Model> model, const EngineOptions& options, StepHook after_forward,
       DraftModel draft)
      : identity{model->fingerprint(), options.kv_type},
        inbox(std::make_shared<Inbox>(max_live(options))),
        loop(std::move(model), options, inbox, std::move(after_forward), std::move(draft)),
        thread(start_quiet_thread([this] { loop.run(); })) {}
  ~Core() { close(); }

  void close() {
    inbox->close("the engine is closed");
    const std::lock_guard lock(join_mutex);
    if (thread.joinable()) thread.join();
  }

  const EngineIdentity identity;
  const std::shared_ptr<Inbox> inbox;
  EngineLoop loop;
  std::atomic<uint64_t> next_id{1};
  std::mutex join_mutex;
  std::thread thread;
};

Engine::Engine(std::shared_ptr<Model> model, const EngineOptions& options, StepHook after_forward,
               DraftModel draft)
    : model_(std::move(model)),
      options_(validated(options)),
      has_draft_(draft.was_wanted()),
      core_(model_, options_, std::move(after_forward), checked(std::move(draft), *model_)) {}

Engine::~Engine() = default;

void Engine::close() {
  if (core_.owner().is_current()) core_->close();
}

std::shared_ptr<Flow> Engine::open_flow(const FlowOptions& options) {
  core_.owner().require();
  return std::make_shared<Flow>(options, options_.max_sequences, this);
}

void Engine::close_flow(Flow& flow) {
  if (core_.owner().is_current()) core_->inbox->close_flow(flow);
}

EngineStats Engine::stats() const {
  core_.owner().require();
  return core_->loop.stats();
}

void Engine::validate(const RequestOptions& options) const {
  const ModelConfig& config = model_->config();
  const SamplingParams& params = options.params;
  realm::validate(params, config.n_vocab);
  REALM_CHECK(params.stop.empty() || model_->vocabulary(),
              "stop strings need a model with a vocabulary");
  REALM_CHECK(
      !options.deadline_ms || (*options.deadline_ms >= 0 && *options.deadline_ms <= kMaxDeadlineMs),
      "deadline_ms must be from 0 to ", kMaxDeadlineMs, ", is ", *options.deadline_ms);
  if (options.speculative) validate_speculation(options);
  REALM_CHECK(!options.flow || options.flow->engine() == this, "the flow is another engine's");
  const auto n_prompt = static_cast<int64_t>(options.prompt.size());
  REALM_CHECK(n_prompt > 0, "the prompt has no tokens");
  REALM_CHECK(n_prompt <= config.n_ctx, "the prompt has ", n_prompt,
              " tokens; this model's context is ", config.n_ctx);
  for (const int32_t token : options.prompt) {
    REALM_CHECK(token >= 0 && token < config.n_vocab, "the prompt has token id ", token,
                ", which is not in the vocabulary of ", config.n_vocab);
  }
  const int64_t length = planned_length(n_prompt, params.max_tokens, config.n_ctx);
  REALM_CHECK(core_->loop.can_hold(length), "a prompt of ", n_prompt, " tokens with max_tokens ",
              params.max_tokens, " may take ", length,
              " tokens of cache, which is more than this engine's ", core_->loop.n_blocks(),
              " blocks can hold; raise kv_bytes or lower max_tokens");
}

void Engine::validate_speculation(const RequestOptions& options) const {
  realm::validate(*options.speculative);
  const DrafterKind kind = options.speculative->drafter;
  REALM_CHECK(kind != DrafterKind::kModel || has_draft_,
              "speculative asks for a draft model, and this engine has none");
  REALM_CHECK((kind == DrafterKind::kCustom) == (options.drafter != nullptr),
              "a drafter of one's own goes with drafter=custom, and only with it");
}

FlowClaim Engine::claim_of(const RequestOptions& options) const {
  const int64_t max_tokens = options.params.max_tokens;
  const int64_t length = planned_length(static_cast<int64_t>(options.prompt.size()), max_tokens,
                                        model_->config().n_ctx);
  return {length, max_tokens, core_->loop.blocks_for(length)};
}

std::shared_ptr<Request> Engine::post(RequestOptions options, Request::Restored restored,
                                      std::shared_ptr<Mailbox> mailbox) {
  validate(options);
  if (!options.params.seed) options.params.seed = fresh_seed();
  if (options.flow) options.space = options.flow->options().space;
  const FlowClaim claim = claim_of(options);
  auto adapters = std::move(options.adapter_set);
  if (adapters) options.adapters = adapters->identity();
  const auto request =
      std::make_shared<Request>(core_->next_id++, std::move(options), std::move(restored),
                                core_->identity, core_->inbox, std::move(mailbox));
  request->set_claim(claim);
  request->give_adapters(std::move(adapters));
  core_->inbox->post(request);
  return request;
}

std::shared_ptr<Request> Engine::submit(RequestOptions options, std::shared_ptr<Mailbox> mailbox) {
  core_.owner().require();
  return post(std::move(options), {}, std::move(mailbox));
}

std::shared_ptr<Request> Engine::resume(std::span<const std::byte> snapshot,
                                        const RequestOptions& terms,
                                        std::shared_ptr<Mailbox> mailbox) {
  core_.owner().require();
  Snapshot from = decode_snapshot(snapshot);
  REALM_CHECK(from.engine.model == core_->identity.model,
              "the snapshot is of another model: its fingerprint is ", to_hex(from.engine.model),
              ", this model's is ", to_hex(core_->identity.model));
  REALM_CHECK(from.engine.kv_type == core_->identity.kv_type, "the snapshot's cache type is ",
              static_cast<int>(from.engine.kv_type), ", this engine's is ",
              static_cast<int>(core_->identity.kv_type));
  for (const int32_t token : from.answer.tokens) {
    REALM_CHECK(token >= 0 && token < model_->config().n_vocab,
                "the snapshot's answer has token id ", token);
  }
  const bool has_adapters = from.options.adapters != Sha256Digest{};
  REALM_CHECK(has_adapters == (terms.adapter_set != nullptr), "the snapshot was taken ",
              has_adapters ? "with adapters, which must be given again" : "without adapters");
  REALM_CHECK(!has_adapters || terms.adapter_set->identity() == from.options.adapters,
              "the snapshot was taken with other adapters, or at other scales");
  from.options.adapter_set = terms.adapter_set;
  from.options.flow = terms.flow;
  from.options.space = terms.space;
  from.options.deadline_ms = terms.deadline_ms;
  from.options.speculative = terms.speculative;
  from.options.drafter = terms.drafter;
  return post(std::move(from.options), std::move(from.answer), std::move(mailbox));
}

}  // namespace realm
