"""Syncs a Bitrix24 portal completely: REST client, entity tables, extraction into the raw log."""
