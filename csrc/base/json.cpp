#include "base/json.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/parse_double.h"

namespace realm::json {

namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

void append_code_point(std::string& out, uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

// Bytes of the UTF-8 character that `text` begins with; 0 if it begins with none.
size_t character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const size_t n = lead < 0x80       ? 1
                   : lead >> 5 == 6  ? 2
                   : lead >> 4 == 14 ? 3
                   : lead >> 3 == 30 ? 4
                                     : 0;
  if (n == 0 || n > text.size()) return 0;
  uint32_t code = n == 1 ? lead : lead & (0x7f >> n);
  for (size_t i = 1; i < n; ++i) {
    if (byte(i) >> 6 != 2) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < kLeast[n] || code > 0x10ffff || is_surrogate ? 0 : n;
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view subject, const Limits& limits)
      : text_(text), subject_(subject), limits_(limits) {}

  Value parse() {
    Value value = parse_value(0);
    skip_space();
    if (at_ < text_.size()) refuse("text after the end of the value");
    return value;
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... what) const {
    fail(ErrorCode::kFormat, subject_, ": JSON at byte ", at_, ": ", what...);
  }

  bool ends() const { return at_ >= text_.size(); }
  char peek() const { return ends() ? '\0' : text_[at_]; }
  void skip_space() {
    while (!ends() && is_space(text_[at_])) ++at_;
  }
  void expect(char c) {
    if (peek() != c || ends()) refuse("expected '", c, "'");
    ++at_;
  }

  Value parse_value(int depth);
  Value parse_word();
  Value parse_number();
  void skip_digits();
  Value parse_array(int depth);
  Value parse_object(int depth);
  bool has_next(char close, bool is_first);
  void refuse_twins(const Object& members) const;
  std::string parse_text();
  void append_escape(std::string& out);
  uint32_t hex_unit();

  const std::string_view text_, subject_;
  const Limits limits_;
  size_t at_ = 0;
  size_t n_values_ = 0;
};

Value Parser::parse_value(int depth) {
  skip_space();
  if (depth > limits_.max_depth) refuse("nested deeper than ", limits_.max_depth);
  if (++n_values_ > limits_.max_values) refuse("more than ", limits_.max_values, " values");
  switch (peek()) {
    case '{':
      return parse_object(depth);
    case '[':
      return parse_array(depth);
    case '"':
      return Value(parse_text());
    case 't':
    case 'f':
    case 'n':
      return parse_word();
    default:
      return parse_number();
  }
}

Value Parser::parse_word() {
  const std::pair<std::string_view, Value> words[] = {
      {"true", Value(true)}, {"false", Value(false)}, {"null", Value(nullptr)}};
  for (const auto& [word, value] : words) {
    if (!text_.substr(at_).starts_with(word)) continue;
    at_ += word.size();
    return value;
  }
  refuse("not a value");
}

void Parser::skip_digits() {
  if (!is_digit(peek())) refuse("not a value");
  while (is_digit(peek())) ++at_;
}

Value Parser::parse_number() {
  const size_t begin = at_;
  if (peek() == '-') ++at_;
  if (peek() == '0') {
    ++at_;
  } else {
    skip_digits();
  }
  bool is_whole = true;
  if (peek() == '.') {
    is_whole = false;
    ++at_;
    skip_digits();
  }
  if (peek() == 'e' || peek() == 'E') {
    is_whole = false;
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    skip_digits();
  }
  const char *first = text_.data() + begin, *last = text_.data() + at_;
  int64_t whole = 0;
  if (is_whole && std::from_chars(first, last, whole).ec == std::errc()) return Value(whole);
  const auto number = parse_double({first, static_cast<size_t>(last - first)});
  if (!number) refuse("a number beyond double precision");
  return Value(*number);
}

// Whether another element follows; steps over the comma before it or over the closing bracket.
bool Parser::has_next(char close, bool is_first) {
  skip_space();
  if (peek() == close && !ends()) {
    ++at_;
    return false;
  }
  if (!is_first) expect(',');
  return true;
}

Value Parser::parse_array(int depth) {
  expect('[');
  Array elements;
  while (has_next(']', elements.empty())) elements.push_back(parse_value(depth + 1));
  return Value(std::move(elements));
}

Value Parser::parse_object(int depth) {
  expect('{');
  Object members;
  while (has_next('}', members.empty())) {
    skip_space();
    std::string key = parse_text();
    skip_space();
    expect(':');
    members.emplace_back(std::move(key), parse_value(depth + 1));
  }
  refuse_twins(members);
  return Value(std::move(members));
}

void Parser::refuse_twins(const Object& members) const {
  std::vector<std::string_view> keys;
  keys.reserve(members.size());
  for (const Member& member : members) keys.push_back(member.first);
  std::ranges::sort(keys);
  const auto twin = std::ranges::adjacent_find(keys);
  if (twin != keys.end())
    refuse("the key ", quoted(*twin), " occurs twice in the object that ends");
}

std::string Parser::parse_text() {
  expect('"');
  std::string out;
  for (;;) {
    if (ends()) refuse("a text without end");
    const auto byte = static_cast<unsigned char>(text_[at_]);
    if (byte == '"') break;
    if (byte < 0x20) refuse("a control character in a text");
    if (byte == '\\') {
      append_escape(out);
      continue;
    }
    const size_t n = character_bytes(text_.substr(at_));
    if (n == 0) refuse("bytes that are not UTF-8");
    out += text_.substr(at_, n);
    at_ += n;
  }
  ++at_;
  return out;
}

void Parser::append_escape(std::string& out) {
  constexpr std::string_view kLetters = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
  ++at_;
  const char letter = peek();
  if (const size_t i = kLetters.find(letter); !ends() && i != std::string_view::npos) {
    ++at_;
    out += kMeant[i];
    return;
  }
  expect('u');
  uint32_t code = hex_unit();
  if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_).starts_with("\\u")) {
    at_ += 2;
    const uint32_t low = hex_unit();
    if (low < 0xdc00 || low > 0xdfff) refuse("half of a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  if (code >= 0xd800 && code <= 0xdfff) refuse("half of a surrogate pair");
  append_code_point(out, code);
}

uint32_t Parser::hex_unit() {
  const std::string_view digits = text_.substr(at_, 4);
  uint32_t unit = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16);
  if (digits.size() < 4 || end != digits.data() + 4) refuse("\\u without four hexadecimal digits");
  at_ += 4;
  return unit;
}

}  // namespace

std::optional<bool> Value::boolean() const {
  if (const bool* value = std::get_if<bool>(&storage_)) return *value;
  return std::nullopt;
}

std::optional<int64_t> Value::integer() const {
  if (const int64_t* value = std::get_if<int64_t>(&storage_)) return *value;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double* value = std::get_if<double>(&storage_)) return *value;
  if (const auto whole = integer()) return static_cast<double>(*whole);
  return std::nullopt;
}

std::optional<std::string_view> Value::text() const {
  if (const std::string* value = std::get_if<std::string>(&storage_)) return *value;
  return std::nullopt;
}

const Value* Value::find(std::string_view key) const {
  const Object* members = object();
  if (!members) return nullptr;
  const auto found = std::ranges::find(*members, key, &Member::first);
  return found == members->end() ? nullptr : &found->second;
}

std::string to_string(const Value& value) {
  if (value.is_null()) return "null";
  if (const auto truth = value.boolean()) return *truth ? "true" : "false";
  if (const auto whole = value.integer()) return concat(*whole);
  if (const auto number = value.number()) return concat(*number);
  if (const auto text = value.text()) return quoted(*text);
  if (const Array* array = value.array()) return concat("an array of ", array->size());
  return concat("an object of ", value.object()->size());
}

Value parse(std::string_view text, std::string_view subject, const Limits& limits) {
  return Parser(text, subject, limits).parse();
}

}  // namespace realm::json
