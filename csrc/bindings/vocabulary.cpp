// Vocabularies, and the parts of tokenizing that are the core's: special tokens, sentencepiece, ids
// to text.
#include "model/vocabulary.h"

#include <optional>
#include <pybind11/stl.h>
#include <variant>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/buffers.h"
#include "bindings/gguf_source.h"
#include "bindings/gil.h"
#include "model/detokenize.h"
#include "model/sentencepiece.h"
#include "model/special_splitter.h"
#include "model/utf8.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using SharedVocabulary = std::shared_ptr<const Vocabulary>;
using Ids = std::vector<int32_t>;

SharedVocabulary open_vocabulary(const PathOrBytes& source, const std::optional<std::string>& pre) {
  const auto file = open_gguf(source);
  const Unlocked unlocked;
  return std::make_shared<const Vocabulary>(file->metadata(), pre.value_or(""));
}

const char* name_of(VocabularyKind kind) {
  switch (kind) {
    case VocabularyKind::kSentencePiece:
      return "sentencepiece";
    case VocabularyKind::kByteLevel:
      return "byte-level";
    case VocabularyKind::kRawText:
      return "raw-text";
  }
  return "";
}

const char* name_of(TokenKind kind) {
  switch (kind) {
    case TokenKind::kNormal:
      return "normal";
    case TokenKind::kUnknown:
      return "unknown";
    case TokenKind::kControl:
      return "control";
    case TokenKind::kUserDefined:
      return "user-defined";
    case TokenKind::kUnused:
      return "unused";
    case TokenKind::kByte:
      return "byte";
  }
  return "";
}

int32_t checked(const Vocabulary& vocabulary, int64_t id) {
  REALM_CHECK(id >= 0 && id < vocabulary.size(), "token id ", id, " is not in the vocabulary of ",
              vocabulary.size());
  return static_cast<int32_t>(id);
}

std::optional<int32_t> optional_id(int32_t id) {
  return id == kNoToken ? std::nullopt : std::optional(id);
}

// The UTF-8 of a str; lone surrogates are the bytes that surrogateescape made of them, if they can
// be.
std::string text_bytes(const py::str& text) {
  py::ssize_t size = 0;
  if (const char* utf8 = PyUnicode_AsUTF8AndSize(text.ptr(), &size)) {
    return {utf8, static_cast<size_t>(size)};
  }
  PyErr_Clear();
  for (const char* errors : {"surrogateescape", "surrogatepass"}) {
    if (PyObject* encoded = PyUnicode_AsEncodedString(text.ptr(), "utf-8", errors)) {
      return py::reinterpret_steal<py::bytes>(encoded);
    }
    PyErr_Clear();
  }
  throw py::value_error("text cannot be encoded");
}

py::str decode_utf8(std::string_view bytes, const char* errors) {
  PyObject* text =
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<py::ssize_t>(bytes.size()), errors);
  if (text == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

// Each byte that is not UTF-8 as U+FFFD, as llama.cpp reads it.
py::str replaced_text(std::string_view bytes) {
  if (is_utf8(bytes)) return decode_utf8(bytes, "strict");
  std::string clean;
  while (!bytes.empty()) {
    const size_t length = utf8_length(bytes);
    clean.append(length != 0 ? bytes.substr(0, length) : "\xef\xbf\xbd");
    bytes.remove_prefix(std::max<size_t>(length, 1));
  }
  return decode_utf8(clean, "strict");
}

py::dict special_ids(const Vocabulary& vocabulary) {
  const SpecialTokens& special = vocabulary.special();
  py::dict dict;
  const auto add = [&](const char* name, int32_t id) {
    if (id != kNoToken) dict[name] = id;
  };
  add("bos", special.bos);
  add("eos", special.eos);
  add("eot", special.eot);
  add("eom", special.eom);
  add("unk", special.unknown);
  add("sep", special.separator);
  add("pad", special.padding);
  add("mask", special.mask);
  add("fim_pre", special.fim_prefix);
  add("fim_suf", special.fim_suffix);
  add("fim_mid", special.fim_middle);
  add("fim_pad", special.fim_padding);
  add("fim_rep", special.fim_repository);
  add("fim_sep", special.fim_separator);
  return dict;
}

py::dict chat_templates(const Vocabulary& vocabulary) {
  py::dict dict;
  for (const auto& [name, text] : vocabulary.chat_templates()) {
    dict[decode_text(name)] = decode_text(text);
  }
  return dict;
}

// What `tokenizers` builds a BPE model from: ids by text and pairs of texts. A token that is not
// UTF-8 can never match a text and is left out.
std::pair<py::dict, py::list> bpe_tables(const Vocabulary& vocabulary) {
  std::vector<py::object> texts(static_cast<size_t>(vocabulary.size()));
  py::dict ids;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view text = vocabulary.text(id);
    if (text.empty() || !is_utf8(text)) continue;
    texts[static_cast<size_t>(id)] = decode_utf8(text, "strict");
    ids[texts[static_cast<size_t>(id)]] = id;
  }
  py::list pairs;
  for (const TokenMerge& merge : vocabulary.merges()) {
    const py::object& left = texts[static_cast<size_t>(merge.left)];
    const py::object& right = texts[static_cast<size_t>(merge.right)];
    if (left && right) pairs.append(py::make_tuple(left, right));
  }
  return {ids, pairs};
}

// Text falls into str and ids of special tokens.
class BoundSplitter {
 public:
  explicit BoundSplitter(SharedVocabulary vocabulary)
      : vocabulary_(std::move(vocabulary)), splitter_(*vocabulary_) {}

  py::list split(const py::str& text, bool parse_special) const {
    const std::string bytes = text_bytes(text);
    std::vector<SpecialSplitter::Piece> pieces;
    {
      const Unlocked unlocked;
      pieces = splitter_.split(bytes, parse_special);
    }
    py::list list;
    for (const auto& piece : pieces) {
      if (piece.token != kNoToken) {
        list.append(piece.token);
      } else {
        list.append(replaced_text(piece.text));
      }
    }
    return list;
  }

 private:
  SharedVocabulary vocabulary_;
  SpecialSplitter splitter_;
};

class BoundSentencePiece {
 public:
  explicit BoundSentencePiece(SharedVocabulary vocabulary)
      : vocabulary_(std::move(vocabulary)), encoder_(*vocabulary_) {}

  Ids encode(const py::str& text, bool parse_special) const {
    const std::string bytes = text_bytes(text);
    const Unlocked unlocked;
    return encoder_.encode(bytes, parse_special);
  }

 private:
  SharedVocabulary vocabulary_;
  SentencePieceEncoder encoder_;
};

// Tokens one after another, text as soon as its characters are whole.
class StreamDecoder {
 public:
  StreamDecoder(SharedVocabulary vocabulary, bool skip_special, std::string errors)
      : vocabulary_(std::move(vocabulary)),
        skip_special_(skip_special),
        errors_(std::move(errors)) {}

  py::str push_one(int64_t id) { return push({checked(*vocabulary_, id)}); }
  py::str push(const Ids& ids) {
    std::string bytes, complete;
    for (const int32_t id : ids) append_token(*vocabulary_, id, skip_special_, bytes);
    stream_.push(bytes, complete);
    return decode_utf8(complete, errors_.c_str());
  }
  py::str finish() {
    std::string rest;
    stream_.finish(rest);
    return decode_utf8(rest, errors_.c_str());
  }
  size_t pending() const { return stream_.pending(); }

 private:
  SharedVocabulary vocabulary_;
  bool skip_special_;
  std::string errors_;
  Utf8Stream stream_;
};

void bind_pre_tokenizers(py::module_& m) {
  py::class_<PreTokenizer>(m, "PreTokenizer",
                           "How a byte-level BPE vocabulary splits text into words.")
      .def_property_readonly("name", &PreTokenizer::name)
      .def_property_readonly(
          "names",
          [](const PreTokenizer& self) { return py::str(std::string(self.names)).attr("split")(); },
          "Every name that means this one.")
      .def_property_readonly(
          "patterns",
          [](const PreTokenizer& self) {
            py::list list;
            for (const auto pattern : self.patterns) {
              if (!pattern.empty()) list.append(pattern);
            }
            return list;
          },
          "Regular expressions that split in turn.")
      .def_readonly("ignore_merges", &PreTokenizer::ignore_merges)
      .def_readonly("raw", &PreTokenizer::raw)
      .def_readonly("newline_tokens", &PreTokenizer::newline_tokens)
      .def_readonly("breaks_at_words", &PreTokenizer::breaks_at_words);
  m.def(
      "pre_tokenizers",
      [] { return std::vector<PreTokenizer>(pre_tokenizers().begin(), pre_tokenizers().end()); },
      "Every pre-tokenizer that is known.");
}

void bind_class(py::module_& m) {
  using V = Vocabulary;
  py::class_<V, std::shared_ptr<V>>(m, "Vocabulary", R"(What the token ids of a model mean.

Safe to share between threads.

Args:
    source: A GGUF file with a vocabulary, as a path or a bytes-like object.
    pre: The name of a pre-tokenizer to use in place of the one the file names.)")
      .def(py::init([](const PathOrBytes& source, const std::optional<std::string>& pre) {
             return std::const_pointer_cast<V>(open_vocabulary(source, pre));
           }),
           py::arg("source"), py::arg("pre") = py::none())
      .def("__len__", &V::size)
      .def_property_readonly(
          "kind", [](const V& self) { return name_of(self.kind()); },
          "\"sentencepiece\", \"byte-level\" or \"raw-text\".")
      .def(
          "text",
          [](const V& self, int64_t id) { return decode_text(self.text(checked(self, id))); },
          py::arg("id"), "The token as the file writes it.")
      .def(
          "bytes",
          [](const V& self, int64_t id) { return py::bytes(self.bytes(checked(self, id))); },
          py::arg("id"), "What the token adds to an output.")
      .def(
          "kind_of",
          [](const V& self, int64_t id) { return name_of(self.kind_of(checked(self, id))); },
          py::arg("id"),
          "\"normal\", \"unknown\", \"control\", \"user-defined\", \"unused\" or \"byte\".")
      .def(
          "find", [](const V& self, const py::str& text) { return self.find(text_bytes(text)); },
          py::arg("text"), "The id of the token that the file writes so, or None.")
      .def_property_readonly("special", &special_ids,
                             "Ids by role: bos, eos, eot, eom, unk, pad, ...")
      .def_property_readonly("bos_id",
                             [](const V& self) { return optional_id(self.special().bos); })
      .def_property_readonly("eos_id",
                             [](const V& self) { return optional_id(self.special().eos); })
      .def_property_readonly("add_bos", &V::add_bos, "Whether a text begins with bos_id.")
      .def_property_readonly("add_eos", &V::add_eos, "Whether a text ends with eos_id.")
      .def_property_readonly("add_space_prefix", &V::add_space_prefix)
      .def_property_readonly(
          "end_tokens",
          [](const V& self) { return Ids(self.end_tokens().begin(), self.end_tokens().end()); },
          "Every id that ends generation.")
      .def(
          "ends_generation",
          [](const V& self, int64_t id) { return self.ends_generation(checked(self, id)); },
          py::arg("id"))
      .def_property_readonly("pre_tokenizer_name", &V::pre_tokenizer_name)
      .def_property_readonly("pre_tokenizer", &V::pre_tokenizer, py::return_value_policy::reference,
                             "None if its name is not known, or there is none.")
      .def_property_readonly("chat_templates", &chat_templates,
                             "Chat templates by name; the default one has the empty name.")
      .def(
          "decode",
          [](const V& self, const Ids& ids, bool skip_special) {
            return py::bytes(decode_tokens(self, ids, skip_special));
          },
          py::arg("ids"), py::arg("skip_special") = true, "The bytes of a whole text.")
      .def("difference", &vocabulary_difference, py::arg("draft"),
           "Why another's ids do not mean the same; empty if they do.")
      .def("_bpe_tables", &bpe_tables);
}

}  // namespace

void bind_vocabulary(py::module_& m) {
  bind_pre_tokenizers(m);
  bind_class(m);
  py::class_<BoundSplitter>(m, "SpecialSplitter", "Splits text at special tokens.")
      .def(py::init<SharedVocabulary>(), py::arg("vocabulary"))
      .def("split", &BoundSplitter::split, py::arg("text"), py::arg("parse_special"),
           "Texts and ids of special tokens, in order; control tokens only if parse_special.");
  py::class_<BoundSentencePiece>(m, "SentencePieceEncoder", "Text to ids by scores.")
      .def(py::init<SharedVocabulary>(), py::arg("vocabulary"))
      .def("encode", &BoundSentencePiece::encode, py::arg("text"), py::arg("parse_special"),
           "Ids without BOS and EOS.");
  py::class_<StreamDecoder>(m, "StreamDecoder",
                            R"(Turns tokens into text as they come, whole characters only.

Args:
    vocabulary: What the ids mean.
    skip_special: Whether control tokens are left out.
    errors: What becomes of bytes that are not UTF-8, as for bytes.decode: "replace" makes them
        U+FFFD, "surrogateescape" keeps them.)")
      .def(py::init<SharedVocabulary, bool, std::string>(), py::arg("vocabulary"), py::kw_only(),
           py::arg("skip_special") = true, py::arg("errors") = "replace")
      .def("push", &StreamDecoder::push_one, py::arg("id"),
           "The text that is whole after this token.")
      .def("push", &StreamDecoder::push, py::arg("ids"),
           "The text that is whole after these tokens.")
      .def("finish", &StreamDecoder::finish, "What was waiting for the rest of a character.")
      .def_property_readonly("pending", &StreamDecoder::pending, "Bytes that wait.");
}

}  // namespace realm::bindings
