// Many requests on one model at once: submit() gives back a Request at once, and the engine's own
// thread computes all of them together, step by step. Each request gets the tokens, and on a CPU
// the bits, that it gets alone (engine/session.h), whatever runs beside it, however its prompt is
// cut, and though it gives way and comes back.
//
// Every function may be called from any thread. In a child process after fork they throw kForked,
// close() and the destructor do nothing. Several engines may share a model; they take turns.
#pragma once

#include <memory>
#include <span>

#include "base/process.h"
#include "engine/engine_stats.h"
#include "engine/flow.h"
#include "engine/request.h"
#include "engine/runner.h"
#include "engine/speculative/draft_model.h"
#include "model/model.h"
#include "realm/engine_options.h"

namespace realm {

class Engine {
 public:
  // Throws kInvalidRequest for options that make no sense, or a draft model whose tokens are not
  // the model's; kOutOfMemory. The hook is for tests.
  Engine(std::shared_ptr<Model> model, const EngineOptions& options, StepHook after_forward = {},
         DraftModel draft = {});
  // Closes.
  ~Engine();

  // A flow for requests to name, which is served fairly beside the others. Throws kInvalidRequest
  // for options that make no sense.
  std::shared_ptr<Flow> open_flow(const FlowOptions& options);
  // Ends the flow's requests with kCancelled; further ones are refused with kInvalidRequest. The
  // flow is gone when nobody holds it or a request of it.
  void close_flow(Flow& flow);

  // Throws, before anything is computed: kInvalidRequest for options that make no sense, a prompt
  // that is empty or above the context, or a request whose prompt and max_tokens this engine's
  // cache could never hold; kQuotaExceeded when max_queue requests wait, or above a limit of the
  // flow; kInvalidRequest after close(). The mailbox, if any, is told of the request's news.
  std::shared_ptr<Request> submit(RequestOptions options,
                                  std::shared_ptr<Mailbox> mailbox = nullptr);

  // Goes on with an answer where Request::snapshot() left it, in this engine or another of the same
  // model and cache type; the first piece has what was answered before. `terms` gives what a
  // snapshot does not hold: flow, namespace, deadline, speculation and the adapters it was taken
  // with; the rest of it is ignored. Throws kFormat for damaged bytes, kInvalidRequest for another
  // model, cache type or adapters, and as submit().
  std::shared_ptr<Request> resume(std::span<const std::byte> snapshot,
                                  const RequestOptions& terms = {},
                                  std::shared_ptr<Mailbox> mailbox = nullptr);

  EngineStats stats() const;
  const EngineOptions& options() const { return options_; }
  const std::shared_ptr<Model>& model() const { return model_; }

  // Ends every request with kCancelled, and the thread. Returns when both have ended; again: at
  // once.
  void close();

 private:
  struct Core;

  std::shared_ptr<Request> post(RequestOptions options, Request::Restored restored,
                                std::shared_ptr<Mailbox> mailbox);
  void validate(const RequestOptions& options) const;
  void validate_speculation(const RequestOptions& options) const;
  FlowClaim claim_of(const RequestOptions& options) const;

  const std::shared_ptr<Model> model_;
  const EngineOptions options_;
  const bool has_draft_;  // or should have one
  LeftToOwner<Core> core_;
};

}  // namespace realm
