"""Country codes of two letters and the three letters that name the same grid (ISO 3166-1), for the countries of the carbon table.

Source: tzdata's iso3166.tab (public domain) for the codes and names, matched by name with CodeCarbon's table. ``UK`` and ``EL``
are the European Union's codes for ``GB`` and ``GR``.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bpfree.errors import UsageError, unknown_name

__all__ = ["THREE_LETTERS", "carbon_table", "check_country"]

_TABLE = "data/private_infra/global_energy_mix.json"
"""In CodeCarbon."""

_CODES = """
AE:ARE AF:AFG AG:ATG AL:ALB AM:ARM AO:AGO AR:ARG AS:ASM AT:AUT AU:AUS AW:ABW AZ:AZE BA:BIH BB:BRB BD:BGD BE:BEL BF:BFA
BG:BGR BH:BHR BI:BDI BJ:BEN BM:BMU BN:BRN BO:BOL BR:BRA BS:BHS BT:BTN BW:BWA BY:BLR BZ:BLZ CA:CAN CD:COD CF:CAF CG:COG
CH:CHE CI:CIV CK:COK CL:CHL CM:CMR CN:CHN CO:COL CR:CRI CU:CUB CV:CPV CY:CYP CZ:CZE DE:DEU DJ:DJI DK:DNK DM:DMA DO:DOM
DZ:DZA EC:ECU EE:EST EG:EGY EH:ESH ER:ERI ES:ESP ET:ETH FI:FIN FJ:FJI FK:FLK FO:FRO FR:FRA GA:GAB GB:GBR GD:GRD GE:GEO
GF:GUF GH:GHA GI:GIB GL:GRL GM:GMB GN:GIN GP:GLP GQ:GNQ GR:GRC GT:GTM GU:GUM GW:GNB GY:GUY HK:HKG HN:HND HR:HRV HT:HTI
HU:HUN ID:IDN IE:IRL IL:ISR IN:IND IQ:IRQ IR:IRN IS:ISL IT:ITA JM:JAM JO:JOR JP:JPN KE:KEN KG:KGZ KH:KHM KI:KIR KM:COM
KN:KNA KP:PRK KR:KOR KW:KWT KY:CYM KZ:KAZ LA:LAO LB:LBN LC:LCA LK:LKA LR:LBR LS:LSO LT:LTU LU:LUX LV:LVA LY:LBY MA:MAR
MD:MDA ME:MNE MG:MDG MK:MKD ML:MLI MM:MMR MN:MNG MO:MAC MQ:MTQ MR:MRT MS:MSR MT:MLT MU:MUS MV:MDV MW:MWI MX:MEX MY:MYS
MZ:MOZ NA:NAM NC:NCL NE:NER NG:NGA NI:NIC NL:NLD NO:NOR NP:NPL NR:NRU NZ:NZL OM:OMN PA:PAN PE:PER PF:PYF PG:PNG PH:PHL
PK:PAK PL:POL PM:SPM PR:PRI PS:PSE PT:PRT PY:PRY QA:QAT RE:REU RO:ROU RS:SRB RU:RUS RW:RWA SA:SAU SB:SLB SC:SYC SD:SDN
SE:SWE SG:SGP SH:SHN SI:SVN SK:SVK SL:SLE SN:SEN SO:SOM SR:SUR SS:SSD ST:STP SV:SLV SY:SYR SZ:SWZ TC:TCA TD:TCD TG:TGO
TH:THA TJ:TJK TL:TLS TM:TKM TN:TUN TO:TON TR:TUR TT:TTO TW:TWN TZ:TZA UA:UKR UG:UGA US:USA UY:URY UZ:UZB VC:VCT VE:VEN
VG:VGB VI:VIR VN:VNM VU:VUT WS:WSM YE:YEM ZA:ZAF ZM:ZMB ZW:ZWE
"""

THREE_LETTERS = {pair[:2]: pair[3:] for pair in _CODES.split()} | {"UK": "GBR", "EL": "GRC"}
"""Two letters to three."""


def carbon_table() -> dict[str, Any]:
    """CodeCarbon's table by codes of three letters, read without importing it (seconds); empty where it is not found."""
    package = importlib.util.find_spec("codecarbon")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        if (path := Path(folder) / _TABLE).is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    return {}


def check_country(country: str, table: Mapping[str, Any]) -> str:
    """The code of three letters of a country.

    Args:
        country: a code of two or three letters.
        table: CodeCarbon's.

    Raises:
        UnknownNameError: a country that the table does not hold; the nearest codes are offered.
        UsageError: the name of a country, with its code.
    """
    # An entry without an intensity would make CodeCarbon compute one, or take the world mean.
    known = [code for code, entry in table.items() if entry.get("carbon_intensity") is not None]
    code = country.strip().upper()
    code = THREE_LETTERS.get(code, code)
    if code not in known:
        by_name = {table[entry]["country_name"].casefold(): entry for entry in known}
        if (named := by_name.get(country.strip().casefold())) is not None:
            raise UsageError(f"a country is given by its two or three letters: {named} for {country.strip()}")
        raise unknown_name("country", country, known)
    return code
