// SamplingParams, and the sampler on numpy rows for tests and for those who bring their own logits.
#include <limits>
#include <pybind11/numpy.h>
#include <pybind11/operators.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "engine/logprobs.h"
#include "engine/sampler.h"
#include "engine/validate_params.h"

namespace py = pybind11;

namespace realm::bindings {

// Any whole number, of whatever size: one that no seed can be is then an InvalidRequest.
class WholeNumber : public py::object {
 public:
  using object::object;
  static bool check_(py::handle object) { return PyIndex_Check(object.ptr()) != 0; }
};

}  // namespace realm::bindings

template <>
struct pybind11::detail::handle_type_name<realm::bindings::WholeNumber> {
  static constexpr auto name = const_name("typing.SupportsIndex");
};

namespace realm::bindings {

namespace {

using Row = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Tokens = std::vector<int64_t>;

uint64_t seed_from(const WholeNumber& number) {
  const auto whole = py::reinterpret_steal<py::object>(PyNumber_Index(number.ptr()));
  if (!whole) throw py::error_already_set();
  const unsigned long long seed = PyLong_AsUnsignedLongLong(whole.ptr());
  if (PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    fail(ErrorCode::kInvalidRequest, "seed must be from 0 to 2^64 - 1, is ",
         std::string(py::str(whole)).substr(0, 64));
  }
  return seed;
}

int32_t token_id(const char* field, int64_t id) {
  REALM_CHECK(id >= 0 && id <= std::numeric_limits<int32_t>::max(), field, " has token id ", id,
              ", which no vocabulary has");
  return static_cast<int32_t>(id);
}

std::vector<int32_t> token_ids(const char* field, const Tokens& ids) {
  std::vector<int32_t> narrow;
  narrow.reserve(ids.size());
  for (const int64_t id : ids) narrow.push_back(token_id(field, id));
  return narrow;
}

SamplingParams make_params(int64_t max_tokens, double temperature, int64_t top_k, double top_p,
                           double min_p, double repetition_penalty, double presence_penalty,
                           double frequency_penalty, const std::optional<WholeNumber>& seed,
                           std::vector<std::string> stop, const Tokens& stop_token_ids,
                           bool ignore_eos, std::optional<int64_t> logprobs,
                           const std::map<int64_t, double>& logit_bias,
                           std::optional<std::string> grammar) {
  SamplingParams params;
  params.max_tokens = max_tokens;
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  params.min_p = min_p;
  params.repetition_penalty = repetition_penalty;
  params.presence_penalty = presence_penalty;
  params.frequency_penalty = frequency_penalty;
  if (seed) params.seed = seed_from(*seed);
  params.stop = std::move(stop);
  params.stop_token_ids = token_ids("stop_token_ids", stop_token_ids);
  params.ignore_eos = ignore_eos;
  params.logprobs = logprobs;
  for (const auto& [id, bias] : logit_bias) {
    params.logit_bias[token_id("logit_bias", id)] = static_cast<float>(bias);
  }
  params.grammar = std::move(grammar);
  validate(params);
  return params;
}

py::dict fields_of(const SamplingParams& p) {
  using namespace py::literals;
  return py::dict(
      "max_tokens"_a = p.max_tokens, "temperature"_a = p.temperature, "top_k"_a = p.top_k,
      "top_p"_a = p.top_p, "min_p"_a = p.min_p, "repetition_penalty"_a = p.repetition_penalty,
      "presence_penalty"_a = p.presence_penalty, "frequency_penalty"_a = p.frequency_penalty,
      "seed"_a = p.seed, "stop"_a = p.stop, "stop_token_ids"_a = p.stop_token_ids,
      "ignore_eos"_a = p.ignore_eos, "logprobs"_a = p.logprobs, "logit_bias"_a = p.logit_bias,
      "grammar"_a = p.grammar);
}

SamplingParams params_from(const py::dict& fields) {
  return py::type::of<SamplingParams>()(**fields).cast<SamplingParams>();
}

SamplingParams replace(const SamplingParams& params, const py::kwargs& changes) {
  py::dict fields = fields_of(params);
  for (const auto& [name, value] : changes) fields[name] = value;
  return params_from(fields);
}

std::string describe(const SamplingParams& params) {
  std::string text;
  for (const auto& [name, value] : fields_of(params)) {
    text += concat(text.empty() ? "" : ", ", std::string(py::str(name)), "=",
                   std::string(py::repr(value)));
  }
  return concat("SamplingParams(", text, ")");
}

void bind_params(py::module_& m) {
  const SamplingParams defaults;
  using P = SamplingParams;
  py::class_<P>(m, "SamplingParams",
                R"(How a request is sampled and when it ends. Immutable; see `replace`.

The filters apply in this order: penalties, logit_bias, temperature, top_k, top_p, min_p. A draw
depends only on the logits, these options, the seed and the position, never on other requests.

Args:
    max_tokens: New tokens at most.
    temperature: Divides the logits; 0 takes the most likely token.
    top_k: Keeps this many of the most likely tokens; 0 keeps all.
    top_p: Keeps the most likely tokens until their mass reaches this part; 1 keeps all.
    min_p: Keeps tokens at least this likely relative to the most likely one.
    repetition_penalty: For tokens of prompt and output: divides positive logits, multiplies
        negative ones.
    presence_penalty: Subtracted once from the logits of tokens that the output has.
    frequency_penalty: Subtracted as many times as the output has the token.
    seed: Decides every draw; without one each request gets a fresh one, which its result names.
    stop: The text ends before the first of these that appears.
    stop_token_ids: Tokens that end the request.
    ignore_eos: Generate on past the model's end-of-generation tokens.
    logprobs: Number of most likely alternatives to report per token; 0 reports the chosen
        token's alone. They are the model's own, before penalties, bias and temperature.
    logit_bias: Added to the logits of single tokens; minus infinity forbids one.
    grammar: Not available yet: anything but None is refused.

Example:
    >>> import realm_ext
    >>> realm_ext.SamplingParams(temperature=0).replace(max_tokens=16).max_tokens
    16)")
      .def(py::init(&make_params), py::kw_only(), py::arg("max_tokens") = defaults.max_tokens,
           py::arg("temperature") = defaults.temperature, py::arg("top_k") = defaults.top_k,
           py::arg("top_p") = defaults.top_p, py::arg("min_p") = defaults.min_p,
           py::arg("repetition_penalty") = defaults.repetition_penalty,
           py::arg("presence_penalty") = defaults.presence_penalty,
           py::arg("frequency_penalty") = defaults.frequency_penalty,
           py::arg("seed") = defaults.seed, py::arg("stop") = defaults.stop,
           py::arg("stop_token_ids") = defaults.stop_token_ids,
           py::arg("ignore_eos") = defaults.ignore_eos, py::arg("logprobs") = defaults.logprobs,
           py::arg("logit_bias") = defaults.logit_bias, py::arg("grammar") = defaults.grammar)
      .def_readonly("max_tokens", &P::max_tokens)
      .def_readonly("temperature", &P::temperature)
      .def_readonly("top_k", &P::top_k)
      .def_readonly("top_p", &P::top_p)
      .def_readonly("min_p", &P::min_p)
      .def_readonly("repetition_penalty", &P::repetition_penalty)
      .def_readonly("presence_penalty", &P::presence_penalty)
      .def_readonly("frequency_penalty", &P::frequency_penalty)
      .def_readonly("seed", &P::seed)
      .def_readonly("stop", &P::stop, "A copy.")
      .def_readonly("stop_token_ids", &P::stop_token_ids, "A copy.")
      .def_readonly("ignore_eos", &P::ignore_eos)
      .def_readonly("logprobs", &P::logprobs)
      .def_readonly("logit_bias", &P::logit_bias, "A copy.")
      .def_readonly("grammar", &P::grammar)
      .def("replace", &replace, "The same options but for those named.")
      .def(py::self == py::self)
      .def("__repr__", &describe)
      .def(py::pickle(&fields_of, [](const py::dict& fields) { return params_from(fields); }));
}

// A row with its history, held while the GIL is free.
struct Question {
  Question(Row row, const SamplingParams& sampling, const Tokens& prompt, const Tokens& output)
      : logits(std::move(row)), params(sampling), history(token_ids("prompt", prompt)) {
    for (const int32_t token : token_ids("output", output)) history.push(token);
    REALM_CHECK(logits.ndim() == 1, "logits must have one dimension, have ", logits.ndim());
    validate(params, logits.size());
  }

  std::span<const float> values() const {
    return {logits.data(), static_cast<size_t>(logits.size())};
  }
  SampleRow row() const { return {values(), params, history}; }

  Row logits;
  SamplingParams params;
  TokenHistory history;
};

int32_t sample(const Row& logits, const SamplingParams& params, const Tokens& prompt,
               const Tokens& output, std::optional<uint64_t> position) {
  const Question question(logits, params, prompt, output);
  REALM_CHECK(params.seed || params.temperature == 0, "a draw needs params.seed");
  const TokenNoise noise(params.seed.value_or(0), position.value_or(prompt.size() + output.size()));
  const SampleRow row = question.row();
  const Unlocked unlocked;
  return Sampler().sample(row, noise);
}

py::typing::Tuple<py::array_t<int32_t>, py::array_t<double>> sampling_law(
    const Row& logits, const SamplingParams& params, const Tokens& prompt, const Tokens& output) {
  const Question question(logits, params, prompt, output);
  const SampleRow row = question.row();
  Distribution law;
  {
    const Unlocked unlocked;
    Sampler().distribution(row, law);
  }
  const auto n = static_cast<py::ssize_t>(law.tokens.size());
  return py::make_tuple(py::array_t<int32_t>(n, law.tokens.data()),
                        py::array_t<double>(n, law.probabilities.data()));
}

py::typing::Tuple<float, std::vector<std::pair<int32_t, float>>> token_logprobs(const Row& logits,
                                                                                int64_t token,
                                                                                int64_t n_top) {
  const Question question(logits, {}, {}, {});
  REALM_CHECK(n_top >= 0, "n_top must be at least 0, is ", n_top);
  Logprobs result;
  {
    const Unlocked unlocked;
    LogprobReader().read(question.values(), token_id("token", token), static_cast<size_t>(n_top),
                         result);
  }
  std::vector<std::pair<int32_t, float>> top;
  for (const TokenLogprob& t : result.top) top.emplace_back(t.token, t.logprob);
  return py::make_tuple(result.chosen, top);
}

py::array_t<double> token_noise(uint64_t seed, uint64_t position, const Tokens& tokens) {
  TokenNoise noise(seed, position);
  py::array_t<double> out(static_cast<py::ssize_t>(tokens.size()));
  double* values = out.mutable_data();
  for (const int32_t token : token_ids("tokens", tokens)) *values++ = noise.gumbel(token);
  return out;
}

}  // namespace

void bind_sampling(py::module_& m) {
  bind_params(m);
  m.def("sample", &sample, py::arg("logits"), py::arg("params"), py::kw_only(),
        py::arg("prompt") = Tokens{}, py::arg("output") = Tokens{},
        py::arg("position") = py::none(),
        R"(The token that a row of logits becomes, as the engine samples it.

Args:
    logits: One float per token of the vocabulary; minus infinity masks one.
    params: Options; with a seed unless the temperature is 0.
    prompt: Token ids of the prompt, for the penalties.
    output: Token ids generated so far.
    position: Tokens before this one; by default those of prompt and output.)");
  m.def("sampling_law", &sampling_law, py::arg("logits"), py::arg("params"), py::kw_only(),
        py::arg("prompt") = Tokens{}, py::arg("output") = Tokens{},
        "Token ids that the filters leave, most likely first, and their probabilities.");
  m.def("token_logprobs", &token_logprobs, py::arg("logits"), py::arg("token"), py::arg("n_top"),
        "The log-probability of a token, and the most likely tokens with theirs.");
  m.def("token_noise", &token_noise, py::arg("seed"), py::arg("position"), py::arg("tokens"),
        "The Gumbel noise that draws add to the scaled logits of these tokens.");
}

}  // namespace realm::bindings
