local show

function show(value)
    local kind = type(value)
    if kind == "number" then
        return string.format("%.17g", value)
    elseif kind == "string" then
        return "'" .. value .. "'"
    elseif kind ~= "table" then
        return kind == "userdata" and "null" or tostring(value)
    end
    local shown = {}
    for key, element in next, value do
        shown[#shown + 1] = {key, element}
    end
    for at, pair in ipairs(shown) do
        local key = pair[1]
        shown[at] = (type(key) == "table" and "{..}" or show(key)) .. "=" .. show(pair[2])
    end
    table.sort(shown)
    return "{" .. table.concat(shown, ", ") .. "}"
end

local function told(count, ok, ...)
    local shown = {}
    for at = 1, count - 1 do
        shown[at] = show((select(at, ...)))
    end
    return (ok and "" or "error ") .. table.concat(shown, ", ")
end

local function answer(...)
    return told(select("#", ...), ...)
end

return answer(pcall(run))
