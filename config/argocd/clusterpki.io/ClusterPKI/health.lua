-- ClusterPKI follows kstatus: observedGeneration, and the conditions Ready, Reconciling and Stalled.
-- clusterpki's api/v1alpha1/conditions.go says when each condition and reason surfaces.
local hs = { status = "Progressing", message = "Waiting for clusterpki to observe the spec" }
if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end

-- Only a person can help: with the spec, or with an object of somebody else that stands in the way.
local stalled = conditions["Stalled"]
if stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = stalled.message
  return hs
end

local reconciling = conditions["Reconciling"]
if reconciling ~= nil and reconciling.status == "True" then
  hs.message = reconciling.message
  return hs
end

-- Hosts have left the lists, and a person has to confirm that. Until then everything goes on.
local removal = conditions["RemovalPending"]
if removal ~= nil and removal.status == "True" then
  hs.status = "Suspended"
  hs.message = removal.message
  return hs
end

-- Something of the whole cluster does not go on without a person, such as a rotation before the old CA is withdrawn. What is about a single host does not
-- count here: see below.
for _, item in ipairs(obj.status.attention or {}) do
  if item.host == nil then
    hs.status = "Suspended"
    if item.reason == "Expired" then
      hs.status = "Degraded"
    end
    hs.message = item.reason .. ": " .. item.edit
    return hs
  end
end

-- What is issued is healthy, also while a CA is rotated. Whether a host has it in use already is said, and changes nothing: a
-- host that is switched off must not hold up the synchronization of the others.
local ready = conditions["Ready"]
if ready ~= nil then
  hs.message = ready.message
  if ready.status == "True" then
    hs.status = "Healthy"
    local hosts = conditions["HostsUpToDate"]
    if hosts ~= nil and hosts.status == "False" then
      hs.message = hosts.message
    end
  end
end
return hs
