"""How tokens of well-known vendors begin, from the vendors' own documentation of their formats."""

from __future__ import annotations

__all__ = ["ANY_CASE", "PLAIN_BODIES", "WIDE_BODIES"]

ANY_CASE = {
    **dict.fromkeys(("akia", "asia", "aroa", "aida", "abia", "acca"), 12),  # AWS
    **dict.fromkeys(("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"), 16),
    **dict.fromkeys(("xoxa-", "xoxb-", "xoxp-", "xoxr-", "xoxs-", "xoxe-", "xoxe.", "xapp-"), 16),
    "glpat-": 16,
    "sk-": 16,  # OpenAI, Anthropic and others
}
"""Prefixes in lower case, with the least length of the letters, digits, ``_`` and ``-`` behind them.
They are known in any case, since they always were."""

WIDE_BODIES = {
    **dict.fromkeys(("gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-"), 16),
    **dict.fromkeys(("gloas-", "glsoat-", "glffct-", "GR1348941"), 16),  # GitLab
    **dict.fromkeys(("AIza", "ya29.", "GOCSPX-"), 20),  # Google
    **dict.fromkeys(("sq0atp-", "sq0csp-", "sq0idp-"), 16),  # Square
    **dict.fromkeys(("hvs.", "hvb.", "hvr."), 20),  # HashiCorp Vault
    **dict.fromkeys(("dp.pt.", "dp.st.", "dp.ct.", "dp.sa."), 16),  # Doppler
    **dict.fromkeys(("dckr_pat_", "dckr_oat_"), 16),
    **dict.fromkeys(("pscale_tkn_", "pscale_pw_", "pscale_oauth_"), 16),
    **dict.fromkeys(("ATATT3", "ATCTT3"), 20),  # Atlassian
    **dict.fromkeys(("pypi-", "SG."), 20),
    **dict.fromkeys(("tskey-auth-", "tskey-api-", "tskey-client-"), 8),
    **dict.fromkeys(("PMAK-", "CFPAT-", "xkeysib-", "pplx-", "xai-", "FlyV1-"), 20),
    **dict.fromkeys(("sntrys_", "sntryu_", "glsa_", "fo1_", "fm1r_", "fm2_"), 16),
}
"""As above, in the case that the vendor writes."""

PLAIN_BODIES = {
    **dict.fromkeys(("sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_"), 10),
    **dict.fromkeys(
        ("hf_", "npm_", "gsk_", "r8_", "nfp_", "sbp_", "lin_api_", "figd_", "ntn_"), 16
    ),
    **dict.fromkeys(
        ("whsec_", "api_org_", "rubygems_", "shpat_", "shpca_", "shppa_", "shpss_"), 16
    ),
    **dict.fromkeys(("dop_v1_", "doo_v1_", "dor_v1_", "sgp_", "phc_", "phx_", "glc_", "tfp_"), 16),
    **dict.fromkeys(("sqp_", "squ_", "sqa_", "bkua_", "CCIPAT_", "vercel_", "vcp_", "re_"), 16),
    **dict.fromkeys(("duffel_live_", "duffel_test_", "shippo_live_", "shippo_test_"), 16),
    **dict.fromkeys(("CLOJARS_", "fw_", "exa_", "tvly_", "e2b_", "ops_"), 24),
    **dict.fromkeys(("NRAK-", "NRJS-", "NRII-", "pul-", "key-"), 20),
    **dict.fromkeys(("LTAI", "AKCp", "cmVmd", "EZAK", "EZTK", "EAAA", "EAAC"), 16),
    **dict.fromkeys(("dapi", "oy2"), 32),
}
"""Prefixes, with the least length of the letters and digits behind them: in ``hf_some_table_name`` no
piece between two underscores is long enough."""
