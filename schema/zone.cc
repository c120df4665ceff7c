// SPDX-License-Identifier: Apache-2.0
// cctz behind C. Names come from clients, and cctz keeps every name that it was ever asked for, the
// wrong ones too; it also reads paths, "localtime" and names of fixed offsets. So a name reaches it
// only after its characters were checked and the system's tzdata was seen to have such a file: both
// caches then hold at most the zones that exist. Every function is noexcept: nothing here throws
// but for want of memory, and then the program ends, as everywhere.
#include "schema/zone.h"

#include <cctz/civil_time.h>
#include <cctz/time_zone.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>

namespace
{

constexpr size_t max_name_bytes = 64;
constexpr size_t max_zones = 2048; // tzdata has about 600 names

using cctz::seconds;
using instant_s = cctz::time_point<seconds>;
using civil_lookup_t = cctz::time_zone::civil_lookup;

struct cache_t {
    std::shared_mutex lock;
    std::map<std::string, cctz::time_zone, std::less<>> zones;
};

// Never destroyed: threads may still look at it while the program ends.
cache_t &cache()
{
    static cache_t *const self = new cache_t;
    return *self;
}

bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// Letters, digits and _ + - in parts that begin with a letter, separated by slashes.
bool has_form(std::string_view name)
{
    if (name.empty() || name.size() > max_name_bytes || name.back() == '/')
        return false;
    char before = '/';
    for (char c : name) {
        bool is_inner = (c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-' || c == '/';
        if (!is_letter(c) && (before == '/' || !is_inner))
            return false;
        before = c;
    }
    return true;
}

// Files of tzdata that are no zones of their own: the machine's setting, a placeholder, and second
// copies of all of them (those in `right` count leap seconds).
bool is_reserved(std::string_view name)
{
    static constexpr std::array<std::string_view, 3> words = {"localtime", "posixrules", "Factory"};
    for (std::string_view word : words) {
        if (name == word)
            return true;
    }
    return name.substr(0, 6) == "posix/" || name.substr(0, 6) == "right/";
}

// Whether tzdata has a zone of that name, in the folder where cctz will look.
bool is_on_disk(const std::string &name)
{
    std::ifstream file(std::string(zone_folder()) + "/" + name, std::ios::binary);
    std::array<char, 4> magic = {};
    return file.read(magic.data(), magic.size()) &&
           std::string_view(magic.data(), magic.size()) == "TZif";
}

bool find(std::string_view name, cctz::time_zone *out)
{
    cache_t &self = cache();
    std::shared_lock<std::shared_mutex> guard(self.lock);
    auto found = self.zones.find(name);
    if (found == self.zones.end())
        return false;
    *out = found->second;
    return true;
}

bool load(std::string_view name, cctz::time_zone *out)
{
    if (!has_form(name) || is_reserved(name))
        return false;
    std::string owned(name);
    if (!is_on_disk(owned) || !cctz::load_time_zone(owned, out))
        return false;
    cache_t &self = cache();
    std::unique_lock<std::shared_mutex> guard(self.lock);
    if (self.zones.size() < max_zones)
        self.zones.emplace(std::move(owned), *out);
    return true;
}

bool get(slice_t name, cctz::time_zone *out) noexcept
{
    std::string_view view(reinterpret_cast<const char *>(name.data), name.n_bytes);
    return find(view, out) || load(view, out);
}

// A zone that was known when it was stored may be missing on another machine: UTC then, as good as
// any guess.
cctz::time_zone get_or_utc(slice_t name) noexcept
{
    cctz::time_zone zone;
    return get(name, &zone) ? zone : cctz::utc_time_zone();
}

civil_lookup_t look_up(const cctz::time_zone &zone, const cctz::civil_second &local) noexcept
{
    return zone.lookup(local);
}

cctz::civil_second look_up(const cctz::time_zone &zone, instant_s at) noexcept
{
    return zone.lookup(at).cs;
}

int64_t to_us(instant_s at)
{
    return at.time_since_epoch().count() * US_PER_S;
}

// Rounds down, before 1970 too.
instant_s to_seconds(int64_t at_us)
{
    int64_t s = at_us / US_PER_S - (at_us % US_PER_S < 0);
    return instant_s(seconds(s));
}

zone_fit_t fit_of(civil_lookup_t::civil_kind kind)
{
    switch (kind) {
    case civil_lookup_t::UNIQUE:
        return ZONE_PLAIN;
    case civil_lookup_t::SKIPPED:
        return ZONE_GAP;
    case civil_lookup_t::REPEATED:
        return ZONE_OVERLAP;
    }
    return ZONE_PLAIN;
}

} // namespace

extern "C" const char *zone_folder(void)
{
    const char *folder = std::getenv("TZDIR");
    return folder == nullptr || *folder == '\0' ? "/usr/share/zoneinfo" : folder;
}

extern "C" bool zone_is_known(slice_t name)
{
    cctz::time_zone zone;
    return get(name, &zone);
}

extern "C" int64_t zone_to_utc(slice_t zone, const local_t *local, zone_fit_t *fit)
{
    cctz::civil_second civil(local->year, local->month, local->day, local->hour, local->minute,
                             local->second);
    civil_lookup_t found = look_up(get_or_utc(zone), civil);
    *fit = fit_of(found.kind);
    return instant_clamp(to_us(found.pre) + local->us);
}

extern "C" void zone_to_local(slice_t zone, int64_t at_us, local_t *out)
{
    at_us = instant_clamp(at_us);
    instant_s at = to_seconds(at_us);
    cctz::civil_second civil = look_up(get_or_utc(zone), at);
    if (civil.year() < 1 || civil.year() > 9999)
        civil = look_up(cctz::utc_time_zone(), at);
    out->year = static_cast<int32_t>(civil.year());
    out->month = static_cast<int8_t>(civil.month());
    out->day = static_cast<int8_t>(civil.day());
    out->hour = static_cast<int8_t>(civil.hour());
    out->minute = static_cast<int8_t>(civil.minute());
    out->second = static_cast<int8_t>(civil.second());
    out->us = static_cast<int32_t>(at_us - to_us(at));
}

extern "C" int64_t zone_end_of_day(slice_t name, const local_t *date)
{
    cctz::time_zone zone = get_or_utc(name);
    cctz::civil_day day(date->year, date->month, date->day);
    civil_lookup_t midnight = look_up(zone, cctz::civil_second(day + 1));
    instant_s end = midnight.pre;
    if (midnight.kind == civil_lookup_t::SKIPPED)
        end = midnight.trans;
    // Clocks that go back over midnight show the end of the old day again.
    if (midnight.kind == civil_lookup_t::REPEATED &&
        cctz::civil_day(look_up(zone, midnight.post - seconds(1))) == day)
        end = midnight.post;
    return instant_clamp(to_us(end) - 1);
}
