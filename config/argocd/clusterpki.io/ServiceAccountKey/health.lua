-- ServiceAccountKey follows kstatus: observedGeneration, and the conditions Ready, Reconciling and Stalled.
-- clusterpki's api/v1alpha1/conditions.go says when each condition and reason surfaces.
local hs = { status = "Progressing", message = "Waiting for clusterpki to observe the spec" }
if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end

-- Only a person can help: with the spec, or because a rotation is asked for and there is no room for another key.
for _, kind in ipairs({ "Stalled", "RotationBlocked" }) do
  if conditions[kind] ~= nil and conditions[kind].status == "True" then
    hs.status = "Degraded"
    hs.message = conditions[kind].message
    return hs
  end
end

-- A key that is being rotated stays Ready: every token works.
for _, kind in ipairs({ "Reconciling", "Rotating" }) do
  if conditions[kind] ~= nil and conditions[kind].status == "True" then
    hs.message = conditions[kind].message
    return hs
  end
end

-- That an earlier key is to go, or is kept by tokens that never end, is said, and changes nothing: every token works, and it
-- may stay so for as long as anybody likes.
local ready = conditions["Ready"]
if ready ~= nil then
  hs.message = ready.message
  if ready.status == "True" then
    hs.status = "Healthy"
    local removal = conditions["KeyRemovalDue"]
    if removal ~= nil and removal.status == "True" then
      hs.message = removal.message
    end
  end
end
return hs
