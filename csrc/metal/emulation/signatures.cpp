#include "metal/emulation/signatures.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "base/error.h"

namespace realm::simt {

namespace {

bool in_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
}

std::string without_comments(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source.substr(i, 2) == "//") {
      while (i < source.size() && source[i] != '\n') ++i;
    }
    if (i < source.size())
      text += std::isspace(static_cast<unsigned char>(source[i])) ? ' ' : source[i];
  }
  return text;
}

std::string trimmed(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' && (out.empty() || out.back() == ' ')) continue;
    out += c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

// The position behind the bracket that closes the one at `open`.
size_t behind_bracket(std::string_view text, size_t open) {
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '(' || text[i] == '[') ++depth;
    if ((text[i] == ')' || text[i] == ']') && --depth == 0) return i + 1;
  }
  fail(ErrorCode::kInternal, "shader source: a bracket is not closed");
}

Ask ask_of(std::string_view attribute) {
  static const std::map<std::string_view, Ask> kAsks = {
      {"buffer", Ask::kBuffer},
      {"threadgroup", Ask::kThreadgroup},
      {"thread_position_in_grid", Ask::kThreadInGrid},
      {"threadgroup_position_in_grid", Ask::kGroupInGrid},
      {"thread_position_in_threadgroup", Ask::kThreadInGroup},
      {"threads_per_threadgroup", Ask::kThreadsPerGroup},
      {"thread_index_in_threadgroup", Ask::kThreadIndex},
      {"simdgroup_index_in_threadgroup", Ask::kSimdIndex},
      {"thread_index_in_simdgroup", Ask::kLane},
  };
  const auto found = kAsks.find(attribute);
  return found == kAsks.end() ? Ask::kNothing : found->second;
}

Parameter parse_parameter(std::string_view text) {
  Parameter parameter;
  const size_t attribute = text.find("[[");
  std::string declared = trimmed(text.substr(0, attribute));
  size_t name = declared.size();
  while (name > 0 && in_word(declared[name - 1])) --name;
  parameter.name = declared.substr(name);
  parameter.type = trimmed(std::string_view(declared).substr(0, name));
  if (attribute == std::string_view::npos) return parameter;
  const std::string inner = trimmed(text.substr(attribute + 2, text.find("]]") - attribute - 2));
  const size_t open = inner.find('(');
  parameter.ask = ask_of(std::string_view(inner).substr(0, open));
  if (open != std::string::npos) parameter.index = std::stoi(inner.substr(open + 1));
  return parameter;
}

std::vector<Parameter> parse_parameters(std::string_view text) {
  std::vector<Parameter> parameters;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && (text[i] == '(' || text[i] == '[')) ++depth;
    if (i < text.size() && (text[i] == ')' || text[i] == ']')) --depth;
    if (i < text.size() && (text[i] != ',' || depth > 0)) continue;
    parameters.push_back(parse_parameter(text.substr(begin, i - begin)));
    begin = i + 1;
  }
  return parameters;
}

// Whether what stands before a definition ends the head of a template.
bool is_template(std::string_view before) {
  std::string text = trimmed(before);
  if (text.ends_with("]]")) text = trimmed(std::string_view(text).substr(0, text.rfind("[[")));
  return text.ends_with('>');
}

bool is_position(Ask ask) {
  return ask == Ask::kThreadInGrid || ask == Ask::kGroupInGrid || ask == Ask::kThreadInGroup ||
         ask == Ask::kThreadsPerGroup;
}

// "const float*" of "device const float*", "AddParams" of "constant AddParams&".
std::string without_space(const std::string& type) {
  std::string bare = type.substr(type.find(' ') + 1);
  if (type.starts_with("constant ") && bare.ends_with('&')) bare.pop_back();
  return bare;
}

}  // namespace

std::vector<Signature> declared_kernels(std::string_view source) {
  const std::string text = without_comments(source);
  std::map<std::string, std::vector<Parameter>> templates;
  std::vector<Signature> kernels;
  constexpr std::string_view kWord = "kernel ";
  for (size_t at = text.find(kWord); at != std::string::npos; at = text.find(kWord, at + 1)) {
    if (at > 0 && in_word(text[at - 1])) continue;
    size_t i = at + kWord.size();
    const auto word = [&] {
      while (text[i] == ' ') ++i;
      const size_t begin = i;
      while (in_word(text[i])) ++i;
      return text.substr(begin, i - begin);
    };
    const std::string type = word(), name = word();
    while (text[i] == ' ') ++i;
    if (type == "void" && text[i] == '(') {
      const size_t end = behind_bracket(text, i);
      auto parameters = parse_parameters(std::string_view(text).substr(i + 1, end - i - 2));
      if (is_template(std::string_view(text).substr(0, at))) {
        templates[name] = std::move(parameters);
      } else {
        kernels.push_back({name, std::move(parameters)});
      }
      continue;
    }
    const size_t host_name = text.rfind("host_name(\"", at);
    const auto original = templates.find(name);
    if (text[i] != '<' || original == templates.end() || host_name == std::string::npos)
      fail(ErrorCode::kInternal, "shader source: what is kernel ", type, " ", name, "?");
    const size_t begin = host_name + 11;
    kernels.push_back({text.substr(begin, text.find('"', begin) - begin), original->second});
  }
  return kernels;
}

std::string bindings_of(const Signature& kernel) {
  std::map<int, std::string> types;
  for (const Parameter& parameter : kernel.parameters)
    if (parameter.ask == Ask::kBuffer) types[parameter.index] = without_space(parameter.type);
  std::string text;
  for (const auto& [index, type] : types) text += (text.empty() ? "" : ", ") + type;
  return text;
}

std::string problem_of(const Signature& kernel) {
  int n_buffers = 0, last_buffer = -1;
  std::string position;
  for (const Parameter& parameter : kernel.parameters) {
    const auto say = [&](const auto&... what) {
      return concat(kernel.name, ": ", parameter.name, " ", what...);
    };
    const bool points = parameter.type.ends_with('*') || parameter.type.ends_with('&');
    if (parameter.ask == Ask::kNothing) return say("has no attribute that this room knows");
    if (points != (parameter.ask == Ask::kBuffer || parameter.ask == Ask::kThreadgroup))
      return say("is no pointer where one is needed, or one where none is");
    const bool shared = parameter.ask == Ask::kThreadgroup;
    if (points && shared != parameter.type.starts_with("threadgroup "))
      return say("is not in the memory that its attribute names");
    if (points && !shared && !parameter.type.starts_with("device ") &&
        !parameter.type.starts_with("constant "))
      return say("has no address space");
    if (shared && parameter.index != 0) return say("is threadgroup memory, of which there is one");
    if (parameter.ask == Ask::kBuffer) {
      ++n_buffers;
      last_buffer = std::max(last_buffer, parameter.index);
    }
    if (is_position(parameter.ask)) {
      if (!position.empty() && position != parameter.type)
        return say("has another dimension than the positions before it");
      position = parameter.type;
    }
  }
  if (last_buffer != n_buffers - 1)
    return concat(kernel.name, ": the buffers' indices leave a gap");
  return "";
}

}  // namespace realm::simt
