// Engine, its requests and the mailboxes of event loops. The Python face (realm_ext/engine.py) adds
// text, prompts and asyncio.
#include "engine/engine.h"

#include <algorithm>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/kv_types.h"
#include "bindings/request_arguments.h"
#include "bindings/speculation.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using Milliseconds = std::chrono::milliseconds;

// ---- waiting

constexpr Milliseconds kLook{20};  // how soon Ctrl-C is heard

// Calls wait(slice), which tells whether what is waited for is there, until it is or `seconds` have
// passed. Signals are heard in between. True if it came.
template <class Wait>
bool wait_interruptibly(std::optional<double> seconds, Wait wait) {
  REALM_CHECK(!seconds || *seconds >= 0, "timeout is ", *seconds, "; must not be negative");
  const Clock::time_point start = Clock::now();
  for (;;) {
    Milliseconds slice = kLook;
    bool is_last = false;
    if (seconds) {
      const double left = *seconds - std::chrono::duration<double>(Clock::now() - start).count();
      is_last = left * 1000 <= static_cast<double>(kLook.count());
      if (is_last) slice = Milliseconds(left > 0 ? static_cast<int64_t>(left * 1000) + 1 : 0);
    }
    {
      const Unlocked unlocked;
      if (wait(slice)) return true;
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (is_last) return false;
  }
}

// ---- pieces of answers

using Alternatives = std::vector<std::pair<int32_t, float>>;

std::optional<std::vector<std::pair<float, Alternatives>>> logprobs_of(const Request& request,
                                                                       const Piece& piece) {
  if (!request.options().params.logprobs) return std::nullopt;
  std::vector<std::pair<float, Alternatives>> out;
  for (const Logprobs& one : piece.logprobs) {
    Alternatives top;
    for (const TokenLogprob& candidate : one.top) {
      top.emplace_back(candidate.token, candidate.logprob);
    }
    out.emplace_back(one.chosen, std::move(top));
  }
  return out;
}

// The stop string or the token that ended the answer.
py::object stop_reason(const Request& request, const Finish& finish) {
  if (finish.stop_index) return py::str(request.options().params.stop[*finish.stop_index]);
  if (finish.stop_token) return py::int_(*finish.stop_token);
  return py::none();
}

// The last piece of an answer says how it ended; the error is a Python exception, not yet raised.
struct End {
  std::string reason;
  py::object stop_reason, error;
};

std::optional<End> end_of(const Request& request, const Piece& piece) {
  if (!piece.finish) return std::nullopt;
  const Finish& finish = *piece.finish;
  return End{name_of(finish.reason), stop_reason(request, finish),
             finish.error ? exception_of(*finish.error) : py::none()};
}

struct PyPiece {
  py::bytes text;
  std::vector<int32_t> tokens;
  std::optional<std::vector<std::pair<float, Alternatives>>> logprobs;
  std::optional<End> end;
};

std::optional<PyPiece> take(Request& request) {
  Piece piece = request.take();
  if (piece.empty()) return std::nullopt;
  return PyPiece{py::bytes(piece.text), std::move(piece.tokens), logprobs_of(request, piece),
                 end_of(request, piece)};
}

py::bytes bytes_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// ---- on the way in

Namespace namespace_of(const std::string& bytes) {
  Namespace space{};
  REALM_CHECK(bytes.empty() || bytes.size() == space.size(), "a namespace has ", space.size(),
              " bytes, not ", bytes.size());
  std::transform(bytes.begin(), bytes.end(), space.begin(),
                 [](char c) { return static_cast<std::byte>(c); });
  return space;
}

void speculate(RequestOptions& options, const std::optional<PySpeculativeConfig>& speculative) {
  if (!speculative) return;
  options.speculative = speculative->options;
  options.drafter = speculative->custom;
}

std::shared_ptr<Request> submit(Engine& engine, const TokenArray& tokens,
                                const SamplingParams& params, int32_t priority,
                                std::optional<double> deadline_ms, const py::bytes& space,
                                MaybeMailbox mailbox,
                                const std::optional<PySpeculativeConfig>& speculative,
                                const AdapterNames& adapters) {
  RequestOptions options;
  options.prompt = tokens_of(tokens);
  options.params = params;
  options.priority = priority;
  options.deadline_ms = deadline_of(deadline_ms);
  options.space = namespace_of(space);
  speculate(options, speculative);
  const Unlocked unlocked;
  options.adapter_set = engine.model()->adapters().set_of(adapters);
  return engine.submit(std::move(options), mailbox.value_or(nullptr));
}

std::shared_ptr<Request> resume(Engine& engine, const py::bytes& snapshot, const py::bytes& space,
                                std::optional<double> deadline_ms, MaybeMailbox mailbox,
                                const std::optional<PySpeculativeConfig>& speculative,
                                const AdapterNames& adapters) {
  const std::string_view bytes = snapshot;
  RequestOptions terms;
  terms.space = namespace_of(space);
  terms.deadline_ms = deadline_of(deadline_ms);
  speculate(terms, speculative);
  const Unlocked unlocked;
  terms.adapter_set = engine.model()->adapters().set_of(adapters);
  return engine.resume(std::as_bytes(std::span(bytes)), terms, mailbox.value_or(nullptr));
}

// Ends an engine without the GIL: its thread may have to end a step first.
struct Unlocking {
  void operator()(Engine* engine) const {
    const Unlocked unlocked;
    delete engine;
  }
};
using EngineHolder = std::unique_ptr<Engine, Unlocking>;

EngineHolder make_engine(std::shared_ptr<Model> model, int64_t max_sequences,
                         int64_t max_step_tokens, std::optional<uint64_t> kv_bytes,
                         const std::string& kv_dtype, bool prefix_cache,
                         std::optional<int64_t> max_queue, int64_t max_wait_ms,
                         std::optional<std::shared_ptr<Model>> draft, std::string draft_failure,
                         std::optional<uint64_t> draft_kv_bytes) {
  EngineOptions options;
  options.max_sequences = max_sequences;
  options.max_step_tokens = max_step_tokens;
  options.kv_bytes = kv_bytes;
  options.kv_type = kv_type_named(kv_dtype);
  options.prefix_cache = prefix_cache;
  options.max_queue = max_queue;
  options.max_wait_ms = max_wait_ms;
  options.draft_kv_bytes = draft_kv_bytes;
  const Unlocked unlocked;
  return EngineHolder(new Engine(std::move(model), options, {},
                                 {draft.value_or(nullptr), std::move(draft_failure)}));
}

// Nanoseconds since submission as seconds; None for what has not happened.
std::optional<double> seconds_of(int64_t ns) {
  return ns > 0 ? std::optional(static_cast<double>(ns) * 1e-9) : std::nullopt;
}

template <auto Field>
auto seconds() {
  return [](const RequestReport& report) { return seconds_of(report.*Field); };
}

void bind_mailbox(py::module_& m) {
  py::class_<Mailbox, std::shared_ptr<Mailbox>>(m, "Mailbox")
      .def(py::init<>())
      .def("fileno", &Mailbox::fd)
      .def(
          "take",
          [](Mailbox& self) {
            std::vector<uint64_t> ids;
            for (const auto& request : self.take()) ids.push_back(request->id());
            return ids;
          },
          "Ids of the requests that have news since the last call.");
}

void bind_request(py::module_& m) {
  using R = RequestReport;
  py::class_<R>(m, "RequestReport")
      .def_property_readonly("status", [](const R& r) { return name_of(r.state); })
      .def_readonly("prompt_tokens", &R::n_prompt)
      .def_readonly("generated_tokens", &R::n_generated)
      .def_readonly("cached_tokens", &R::n_cached)
      .def_readonly("preemptions", &R::n_preempted)
      .def_readonly("speculation", &R::speculation)
      .def_property_readonly("started", seconds<&R::started_ns>())
      .def_property_readonly("first_token", seconds<&R::first_token_ns>())
      .def_property_readonly("finished", seconds<&R::finished_ns>());
  py::class_<End>(m, "End")
      .def_readonly("reason", &End::reason)
      .def_readonly("stop_reason", &End::stop_reason)
      .def_readonly("error", &End::error);
  py::class_<PyPiece>(m, "Piece")
      .def_readonly("text", &PyPiece::text)
      .def_readonly("tokens", &PyPiece::tokens)
      .def_readonly("logprobs", &PyPiece::logprobs)
      .def_readonly("end", &PyPiece::end);
  py::class_<Request, std::shared_ptr<Request>>(m, "Request")
      .def_property_readonly("id", &Request::id)
      .def_property_readonly("seed", &Request::seed)
      .def("cancel", &Request::cancel)
      .def("report", &Request::report)
      .def("take", &take, "What has come since the last call, if anything.")
      .def(
          "wait",
          [](const Request& self, std::optional<double> timeout) {
            return wait_interruptibly(timeout, [&](Milliseconds t) { return self.wait(t); });
          },
          py::arg("timeout") = py::none(), "Until `take` has something; False if it came not.")
      .def(
          "wait_end",
          [](const Request& self, std::optional<double> timeout) {
            return wait_interruptibly(timeout, [&](Milliseconds t) { return self.wait_end(t); });
          },
          py::arg("timeout") = py::none(), "Until the answer has ended; False if it has not.")
      .def("snapshot", [](const Request& self) { return bytes_of(self.snapshot()); });
}

void bind_stats(py::module_& m) {
  using H = LatencyHistogram;
  py::class_<H>(m, "Latency", "Durations in seconds, each within 10 %.")
      .def_property_readonly("count", &H::count)
      .def("quantile", &H::quantile, py::arg("q"),
           "What a part `q` of all durations stay at or below; 0 when there are none.")
      .def_property_readonly("max", &H::max);
  using S = EngineStats;
  py::class_<S>(m, "EngineStats",
                R"(What an engine has done since it was made, and what it does now.

Requests: `total_requests` ever accepted, `active_requests` that have not ended, of them `waiting`
and `running`; `preempted` counts how often one gave way, `cancelled` and `failed` how they ended.
`refused` counts those above a limit. `average_sequence_length` is in tokens. Cache: `kv_blocks_used` and `kv_blocks_total`, and
`kv_blocks_cached` that nobody uses, kept for prompts that begin alike; `prefix_hits` requests found
`prefix_tokens` there. Work: `prompt_tokens`, `tokens_generated`, `tokens_per_second` of the last ten seconds, `steps`, of them `abandoned_steps`, `step_seconds`, `batch_widths`.
Speculation: `draft_tokens` guessed and judged in `verifications`, `accepted_tokens` that stand,
`draft_seconds`, and `draft_blocks_used` of `draft_blocks_total` in the draft model's cache. Latencies: `queue_wait`,
`time_to_first_token`, `inter_token_latency`.)")
      .def_readonly("total_requests", &S::total_requests)
      .def_readonly("active_requests", &S::active_requests)
      .def_readonly("waiting", &S::waiting)
      .def_readonly("running", &S::running)
      .def_readonly("average_sequence_length", &S::average_sequence_length)
      .def_readonly("preempted", &S::preempted)
      .def_readonly("refused", &S::refused)
      .def_readonly("cancelled", &S::cancelled)
      .def_readonly("failed", &S::failed)
      .def_readonly("kv_blocks_used", &S::kv_blocks_used)
      .def_readonly("kv_blocks_total", &S::kv_blocks_total)
      .def_readonly("kv_blocks_cached", &S::kv_blocks_cached)
      .def_readonly("prefix_hits", &S::prefix_hits)
      .def_readonly("prefix_tokens", &S::prefix_tokens)
      .def_readonly("prompt_tokens", &S::prompt_tokens)
      .def_readonly("tokens_generated", &S::tokens_generated)
      .def_readonly("tokens_per_second", &S::tokens_per_second)
      .def_readonly("draft_tokens", &S::draft_tokens)
      .def_readonly("accepted_tokens", &S::accepted_tokens)
      .def_readonly("verifications", &S::verifications)
      .def_readonly("draft_seconds", &S::draft_seconds)
      .def_readonly("draft_blocks_used", &S::draft_blocks_used)
      .def_readonly("draft_blocks_total", &S::draft_blocks_total)
      .def_readonly("steps", &S::steps)
      .def_readonly("abandoned_steps", &S::abandoned_steps)
      .def_readonly("step_seconds", &S::step_seconds)
      .def_readonly("batch_widths", &S::batch_widths, "[n]: steps that served n requests.")
      .def_readonly("queue_wait", &S::queue_wait)
      .def_readonly("time_to_first_token", &S::time_to_first_token)
      .def_readonly("inter_token_latency", &S::inter_token_latency);
}

}  // namespace

void bind_engine(py::module_& m) {
  bind_mailbox(m);
  bind_request(m);
  bind_stats(m);
  py::class_<Engine, std::unique_ptr<Engine, Unlocking>>(m, "Engine")
      .def(py::init(&make_engine), py::arg("model"), py::kw_only(), py::arg("max_sequences"),
           py::arg("max_step_tokens"), py::arg("kv_bytes"), py::arg("kv_dtype"),
           py::arg("prefix_cache"), py::arg("max_queue"), py::arg("max_wait_ms"),
           py::arg("draft") = py::none(), py::arg("draft_failure") = "",
           py::arg("draft_kv_bytes") = py::none())
      .def("submit", &submit, py::arg("tokens"), py::arg("params"), py::kw_only(),
           py::arg("priority") = 0, py::arg("deadline_ms") = py::none(),
           py::arg("space") = py::bytes(), py::arg("mailbox") = py::none(),
           py::arg("speculative") = py::none(), py::arg("adapters") = AdapterNames())
      .def("resume", &resume, py::arg("snapshot"), py::kw_only(), py::arg("space") = py::bytes(),
           py::arg("deadline_ms") = py::none(), py::arg("mailbox") = py::none(),
           py::arg("speculative") = py::none(), py::arg("adapters") = AdapterNames())
      .def("stats", &Engine::stats)
      .def("close", &Engine::close, py::call_guard<Unlocked>());
}

}  // namespace realm::bindings
