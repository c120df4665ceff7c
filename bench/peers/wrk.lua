-- SPDX-License-Identifier: Apache-2.0
-- Has wrk ask for the targets of load_http in turn: lines of `PATH TOKEN`.
local requests = {}
local n = 0

function init(args)
    for line in io.lines(args[1]) do
        local path, token = line:match("^(%S+) (%S+)$")
        requests[#requests + 1] = wrk.format("GET", path, { ["Authorization"] = "Bearer " .. token })
    end
    n = math.random(#requests)
end

function request()
    n = n % #requests + 1
    return requests[n]
end
