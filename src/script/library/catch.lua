-- What catches errors, with the libraries' errors made text (by the function given).
local text = ...
local pcall, xpcall, resume = pcall, xpcall, coroutine.resume

local function settled(ok, ...)
    if ok then
        return ok, ...
    end
    return ok, text(...)
end

function _G.pcall(...)
    return settled(pcall(...))
end

function _G.xpcall(run, handler)
    return xpcall(run, function(caught)
        return handler(text(caught))
    end)
end

function coroutine.resume(...)
    return settled(resume(...))
end
