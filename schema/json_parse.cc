// SPDX-License-Identifier: Apache-2.0
// JSON to msgpack. A first pass over the text refuses what is too deep or too many before anything
// is built; simdjson, which is strict about UTF-8, escapes, numbers and what stands behind the
// value, parses; its tree is then written out, and what JSON allows but we do not is refused with
// its pointer. The tree lives for one call: it is made in a fraction of a microsecond, and nothing
// is kept between calls. Every function is noexcept: nothing here throws but for want of memory,
// and then the program ends, as everywhere.
extern "C" {
#include "schema/json.h"
#include "schema/json_scan.h"
#include "schema/keys.h"
#include "schema/mp.h"
}

#include <simdjson.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

namespace
{

namespace dom = simdjson::dom;

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
constexpr char detail_nul[] = "A string must not contain NUL.";
constexpr char detail_number[] = "A number must be an integer of 64 bits.";
constexpr char detail_long[] = "A string may have 262144 bytes.";
constexpr char detail_deep[] = "Values may be nested 16 deep.";
constexpr char detail_many[] = "There may be 65536 values in all.";
static_assert(LIMIT_STRING_BYTES == 262144 && LIMIT_DEPTH == 16 && LIMIT_ELEMENTS == 65536,
              "the sentences above name the limits");

struct writer_t {
    buf_t *out;
    arena_t *arena;
    problem_t *problem;
    json_path_t path;
    keys_t keys; // of the objects being written
    bool is_refused;
    bool has_double_key;
};

err_t refuse_malformed(problem_t *problem, const char *detail) noexcept
{
    problem->err = ERR_MALFORMED;
    problem->detail = slice_str(detail);
    return ERR_MALFORMED;
}

err_t refuse_at(const json_path_t &path, const char *detail, arena_t *arena,
                problem_t *problem) noexcept
{
    problem_add_field(problem, json_path_pointer(&path, arena), slice_str(detail));
    return ERR_INVALID;
}

// The parser does not tell a number that is none from one that is too large; the first pass does.
err_t refuse_number(slice_t json, arena_t *arena, problem_t *problem) noexcept
{
    json_path_t path;
    if (json_scan(json, true, &path) == JSON_SCAN_NUMBER)
        return refuse_at(path, detail_number, arena, problem);
    return refuse_malformed(problem, "A number is not written as in JSON.");
}

err_t refuse_parse(slice_t json, simdjson::error_code code, arena_t *arena,
                   problem_t *problem) noexcept
{
    switch (code) {
    case simdjson::MEMALLOC:
        std::abort();
    case simdjson::EMPTY:
        return refuse_malformed(problem, "There is no JSON text.");
    case simdjson::UTF8_ERROR:
        return refuse_malformed(problem, "The text is not UTF-8.");
    case simdjson::UNCLOSED_STRING:
        return refuse_malformed(problem, "A string has no end.");
    case simdjson::UNESCAPED_CHARS:
        return refuse_malformed(problem, "A string has a control character that is not escaped.");
    case simdjson::STRING_ERROR:
        return refuse_malformed(problem, "A string has a wrong escape.");
    case simdjson::TAPE_ERROR:
    case simdjson::T_ATOM_ERROR:
    case simdjson::F_ATOM_ERROR:
    case simdjson::N_ATOM_ERROR:
        return refuse_malformed(problem, "This is not JSON: a value, bracket, comma or colon is "
                                         "missing or too much.");
    default: // NUMBER_ERROR; later versions have another code for an integer that is too large
        return refuse_number(json, arena, problem);
    }
}

void refuse(writer_t &self, const char *detail) noexcept
{
    self.is_refused = true;
    refuse_at(self.path, detail, self.arena, self.problem);
}

void write_value(writer_t &self, dom::element value) noexcept;

void write_str(writer_t &self, std::string_view text) noexcept
{
    if (text.size() > LIMIT_STRING_BYTES)
        refuse(self, detail_long);
    else if (text.find('\0') != text.npos)
        refuse(self, detail_nul);
    else
        mp_put_str(self.out, slice_of(text.data(), text.size()));
}

// False if the value is deeper than may be, which the first pass sees before.
bool write_open(writer_t &self, bool is_object) noexcept
{
    if (self.path.depth == LIMIT_DEPTH) {
        refuse(self, detail_deep);
        return false;
    }
    self.path.levels[self.path.depth++] = {is_object, is_object, 0, slice_none()};
    return true;
}

void write_array(writer_t &self, dom::array array) noexcept
{
    if (!write_open(self, false))
        return;
    json_level_t &level = self.path.levels[self.path.depth - 1];
    mp_put_array(self.out, array.size());
    for (dom::element item : array) {
        write_value(self, item);
        level.index++;
    }
    self.path.depth--;
}

void write_object(writer_t &self, dom::object object) noexcept
{
    if (!write_open(self, true))
        return;
    json_level_t &level = self.path.levels[self.path.depth - 1];
    size_t first_key = self.keys.n;
    mp_put_map(self.out, object.size());
    for (dom::key_value_pair pair : object) {
        level.key = slice_of(pair.key.data(), pair.key.size());
        keys_push(&self.keys, level.key);
        write_str(self, pair.key);
        write_value(self, pair.value);
    }
    self.has_double_key |= !keys_close(&self.keys, first_key);
    self.path.depth--;
}

void write_value(writer_t &self, dom::element value) noexcept
{
    switch (value.type()) {
    case dom::element_type::ARRAY:
        write_array(self, value.get_array().value_unsafe());
        break;
    case dom::element_type::OBJECT:
        write_object(self, value.get_object().value_unsafe());
        break;
    case dom::element_type::INT64:
        mp_put_int(self.out, value.get_int64().value_unsafe());
        break;
    case dom::element_type::UINT64: // above INT64_MAX
    case dom::element_type::DOUBLE:
        refuse(self, detail_number);
        break;
    case dom::element_type::STRING:
        write_str(self, value.get_string().value_unsafe());
        break;
    case dom::element_type::BOOL:
        mp_put_bool(self.out, value.get_bool().value_unsafe());
        break;
    case dom::element_type::NULL_VALUE:
        mp_put_nil(self.out);
        break;
    }
}

err_t write_tree(dom::element root, buf_t *out, arena_t *arena, problem_t *problem) noexcept
{
    writer_t writer;
    writer.out = out;
    writer.arena = arena;
    writer.problem = problem;
    writer.path.depth = 0;
    writer.path.is_raw = false;
    writer.is_refused = false;
    writer.has_double_key = false;
    keys_init(&writer.keys);
    write_value(writer, root);
    keys_fini(&writer.keys);
    if (writer.has_double_key) {
        problem->n_fields = 0;
        return refuse_malformed(problem, "A key stands twice in an object.");
    }
    return writer.is_refused ? ERR_INVALID : ERR_OK;
}

// Which some versions of the parser pass over. RFC 8259 (8.1) wants none to be sent.
bool has_byte_order_mark(slice_t json) noexcept
{
    return json.n_bytes >= byte_order_mark.size() &&
           std::memcmp(json.data, byte_order_mark.data(), byte_order_mark.size()) == 0;
}

// The parser reads a little behind the text, so that it needs a copy with room.
err_t parse_and_write(slice_t json, buf_t *out, arena_t *arena, problem_t *problem) noexcept
{
    auto *copy =
        static_cast<uint8_t *>(arena_alloc(arena, json.n_bytes + simdjson::SIMDJSON_PADDING));
    std::memcpy(copy, json.data, json.n_bytes);
    dom::parser parser;
    dom::element root;
    simdjson::error_code code = parser.allocate(json.n_bytes, LIMIT_DEPTH + 2);
    if (code == simdjson::SUCCESS)
        code = parser.parse(copy, json.n_bytes, false).get(root);
    if (code != simdjson::SUCCESS)
        return refuse_parse(json, code, arena, problem);
    return write_tree(root, out, arena, problem);
}

} // namespace

extern "C" err_t json_to_mp(slice_t json, buf_t *out, arena_t *arena, problem_t *problem)
{
    if (json.n_bytes == 0)
        return refuse_malformed(problem, "There is no JSON text.");
    if (has_byte_order_mark(json))
        return refuse_malformed(problem, "The text begins with a byte order mark.");
    json_path_t path;
    json_scan_t first_look = json_scan(json, false, &path);
    if (first_look == JSON_SCAN_DEEP)
        return refuse_at(path, detail_deep, arena, problem);
    if (first_look == JSON_SCAN_MANY)
        return refuse_at(path, detail_many, arena, problem);
    size_t n_before = out->n_bytes;
    err_t err = parse_and_write(json, out, arena, problem);
    if (err != ERR_OK)
        out->n_bytes = n_before;
    return err;
}
